"""Following requests that wait for an agent: all of them in one call, and one of them in detail."""

from __future__ import annotations

from typing import Protocol

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.interface import Issued, Pending, PendingRequests, Progress, Refused, Undecided
from kipuka.errors import Kind

LIST_SECONDS = 20
"""How long Dogtag's LDAP server may search; 10 s unless told. What is not found by then is left out without a word."""

_SPARE = 1000
_MOST = 100_000


class Call(Protocol):
    """Asks the CA for an operation; no body: GET. An answer longer than ``limit`` bytes is an error."""

    async def __call__(
        self,
        operation: Operation,
        value: str = "",
        body: bytes | None = None,
        *,
        query: str = "",
        limit: int | None = None,
    ) -> wire.Answer:
        """Return the answer, whatever its status.

        :raises AuthorityError: there is none.
        """


class Tracking:
    """What one CA says of pending requests."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._length = 0

    async def pending(self, expected: int) -> PendingRequests:
        """List the requests in state "pending".

        The list is not paged: Dogtag gives as many as it is asked for, the oldest first, and says nothing of the rest
        (11.9: fails). So more are asked for than kipuka and, by the length of the last list, others have waiting; a
        list as long as that may have been cut. A short one may lack requests all the same, when LDAP failed or its
        time was over: that is why a missing request must be asked after, by :meth:`progress`.

        :raises AuthorityError: the CA cannot say now.
        """
        maximum = min(2 * max(expected, self._length) + _SPARE, _MOST)
        answer = await self._call(
            Operation.REQUESTS,
            query=f"?requestState=pending&requestType=enrollment&maxResults={maximum}&maxTime={LIST_SECONDS}",
            limit=list_limit(maximum),
        )
        if outcome.stumbled(answer):  # as 11.9 does when there are more
            self._length = maximum
            return PendingRequests(frozenset(), complete=False)
        if answer.status != 200:
            raise outcome.failure(answer)
        numbers = wire.listed(answer)
        self._length = len(numbers)
        return PendingRequests(frozenset(map(str, numbers)), complete=len(numbers) < maximum)

    async def progress(self, request_id: str) -> Progress:
        """Ask how a request stands: one call, and one more for its certificate or for the agent's reason.

        Nothing but Dogtag's own word "complete", "rejected" or "canceled" is an end. While LDAP is down 10.x says 404
        of requests it has, a clone says 404 until it has replicated them, and after a crash some stay in "begin".

        :raises AuthorityError: the CA cannot be asked, or cannot be understood.
        """
        answer = await self._call(Operation.REQUEST, request_id)
        if answer.status != 200:
            return Undecided(f"request {request_id}: {outcome.failure(answer).cause}")
        info = wire.requested(answer)
        if info.request_id != wire.parse_id(request_id):
            raise outcome.error(Kind.BAD_ANSWER, f"request {request_id}: another one was shown")
        if info.status == "pending":
            return Pending(request_id)
        if info.status == "complete":
            return await self._issued(info)
        if info.status in ("rejected", "canceled"):
            return await self._refused(request_id, info)
        return Undecided(f"request {request_id}: {info.status}, {info.error or 'no message'}")

    async def _issued(self, info: wire.RequestInfo) -> Issued | Undecided:
        if info.certificate_id is None:
            return Undecided(f"request {info.request_id}: complete without a certificate, {info.error or 'no message'}")
        answer = await self._call(Operation.CERTIFICATE, hex(info.certificate_id))
        if answer.status != 200:
            return Undecided(f"issued as {info.certificate_id:#x}, not fetched: {outcome.failure(answer).cause}")
        return Issued(wire.certificate(answer).certificate)

    async def _refused(self, request_id: str, info: wire.RequestInfo) -> Refused | Undecided:
        """Give the policy's words or the agent's, which only agents are shown: as notes, in the review."""
        if info.error:
            return Refused(info.error)
        answer = await self._call(Operation.REVIEW, request_id)
        if answer.status in (401, 403, 503):  # LDAP has just gone down
            return Undecided(f"request {request_id}: {info.status}; no reason: {outcome.failure(answer).cause}")
        # Any other failure stays: of a request whose profile was deleted there is no review.
        return refusal(info.status, wire.review(answer).notes if answer.status == 200 else "")


def list_limit(entries: int) -> int:
    """Return how many bytes a list of requests may have: 250 an entry in 10.10.2, twice that in 11.9, or long URLs."""
    return 1024 * entries


def refusal(status: str, notes: str) -> Refused:
    """Say that an agent ended a request, in one of the two ways, and why if that was noted."""
    return Refused(f"{status}: {notes}" if notes else status)
