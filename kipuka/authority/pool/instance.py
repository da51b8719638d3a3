"""One CA of a pool as the ledger follows its requests: this CA, and while it is away its clones in its place.

What a clone *has* is taken over: its records are the CA's own, replicated. What a clone has *not* proves something
only when nothing more can come of what the CA had in hand. That is so when the connection is refused: the process is
gone and its requests died with it, while what it had written lives in a directory server that goes on replicating. A
CA that accepts and does not answer may only be suspended, and does the rest when it goes on. One that has lost its
directory may have records there that were never replicated. Then a request stays in doubt, however long that takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from cryptography import x509
from twisted.logger import Logger

from kipuka.authority.interface import (
    EnrollmentRequest,
    Finding,
    Issued,
    Outcome,
    Pending,
    PendingRequests,
    Progress,
    Refused,
    Undecided,
)
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.pool.member import Clone, Member
from kipuka.errors import AuthorityError, Kind

T = TypeVar("T")
Ask = Callable[[Clone], Awaitable[T]]

_log = Logger("kipuka.pool")


@dataclass(frozen=True)
class _Answer(Generic[T]):
    """Who said what.

    :param own: why the CA itself did not say it, if it was asked.
    """

    said: T
    by: Member
    own: AuthorityError | None


class Instance:
    """One member, its clones behind it."""

    def __init__(self, member: Member, clones: Sequence[Member]) -> None:
        self._member = member
        self._clones = clones
        self.instances = frozenset(each.id for each in (member, *clones))

    @property
    def id(self) -> str:
        """The member's id: the rows of the ledger carry it."""
        return self._member.id

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """The member's.

        :raises AuthorityError: no copy is to be had.
        """
        return await self._member.authority.chain()

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Ask the member itself.

        :raises AuthorityError: its word, or trouble.
        """
        return await self._member.enroll(request)

    async def close(self) -> None:
        """Nothing of its own is open."""

    async def still_pending(self, expected: int) -> PendingRequests:
        """Ask what is still pending.

        :raises AuthorityError: neither the CA nor a clone can say.
        """
        return (await self._ask(lambda ca: ca.still_pending(expected), lambda _: True)).said

    async def progress(self, request_id: str) -> Progress:
        """Ask how one request stands. That a clone does not know it means that it was not replicated yet.

        :raises AuthorityError: neither the CA nor a clone can say.
        """
        answer = await self._ask(lambda ca: ca.progress(request_id), lambda said: not isinstance(said, Undecided))
        return answer.said

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Look for what became of a request; see the module for what may be concluded from a clone.

        :raises AuthorityError: nothing was found that would count.
        """

        def look(ca: Clone) -> Awaitable[Finding]:
            return ca.find(public_key, subject, since, known)

        def counts(found: Finding) -> bool:
            return isinstance(found, Issued | Pending | Refused)

        answer = await self._ask(look, counts)
        if counts(answer.said) or answer.by is self._member:
            return answer.said
        if answer.own is not None and answer.own.connection_refused:
            return answer.said
        raise self._in_doubt(f"nothing at a clone, and the CA itself says: {answer.own or 'not asked, it is away'}")

    async def _ask(self, ask: Ask[T], decides: Callable[[T], bool]) -> _Answer[T]:
        """Ask the CA, then its clones, until an answer decides.

        The CA itself is left out while it is away and would only keep us waiting. That it refuses connections is
        known at once, and is asked before the clones are: what they lack after that can come no more.

        :return: the deciding answer; else the CA's own; else a clone's.
        :raises AuthorityError: there is none: what the CA itself said to that, or else a clone.
        """
        own, first, troubles = self._member, None, dict[str, AuthorityError]()
        keeps_waiting = own.vitals.circuit is Circuit.OPEN and not own.vitals.is_refusing
        clones = [each for each in self._clones if each.is_used or each.may_be_tried]
        for member in clones if keeps_waiting else [own, *clones]:
            try:
                answer = _Answer(await ask(member.authority), member, troubles.get(own.id))
            except AuthorityError as error:
                if member is not own:
                    _log.debug("CA {ca}, asked for {own}: {trouble}", ca=member.id, own=own.id, trouble=str(error))
                troubles[member.id] = error
                continue
            if decides(answer.said):
                return answer
            first = first or answer
        if first is not None:
            return first
        raise next(iter(troubles.values()), self._in_doubt("it is away, and so are its clones"))

    def _in_doubt(self, cause: str) -> AuthorityError:
        return AuthorityError(
            Kind.UNDECIDED,
            "What became of the request at the CA is not known yet: send it again later, with the same key.",
            f"CA {self.id}: {cause}",
        )
