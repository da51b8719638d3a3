"""Submitting a request to its CA, once, and writing down what came of it, whoever still waits for it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from kipuka.authority.interface import Authority, ChoosesInstance, EnrollmentRequest, Issued, Outcome, Refused
from kipuka.enrollment.audit import NOWHERE
from kipuka.enrollment.ledger.application import carries_key
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import AuthorityError, Kind
from kipuka.observe.audit.record import Origin
from kipuka.store.rows import Enrollment, State
from kipuka.store.store import StoreUnavailable

_log = Logger("kipuka.enrollment")

_NOTHING_DONE = {Kind.UNREACHABLE, Kind.BUSY, Kind.MISCONFIGURED, Kind.TOO_LARGE, Kind.INVALID}
"""After these the CA certainly has not taken the request."""
_ONLY_HERE = {Kind.UNREACHABLE, Kind.BUSY, Kind.MISCONFIGURED}
"""After these another CA may take it. MISCONFIGURED too: Dogtag does not know its agents while its directory is away,
and a clone may have a profile that another lacks."""
_TRIES = 2
_FRESH = timedelta(seconds=5)
"""What was not sent so long after it was written down is not sent any more: others may have given this process up."""
_STORE_RETRY = 1.0


class Submitter:
    """Submits rows to one CA, or to one of a pool's.

    :param authority: the CA, or a pool of them.
    :param send_within: seconds in which a request must have been sent, or is not sent any more.
    """

    def __init__(self, authority: Authority, ledger: Ledger, send_within: float = 30.0) -> None:
        self.authority = authority
        self._ledger = ledger
        self._send_within = send_within
        self._in_hand: set[Deferred[Any]] = set()

    def submit(self, row: Enrollment, request: EnrollmentRequest, origin: Origin = NOWHERE) -> Deferred[Enrollment]:
        """Take the row and submit the request, unless another takes it first; cancelling stops only the waiting.

        What certainly did not reach the CA goes to the next one of a pool at once, and to a CA that has no others a
        second time. What the CA said is written down however long that takes, but nobody waits while the store is away.

        :param origin: of the client's request, for the audit.
        :return: the row after it.
        :raises AuthorityError: no CA took it, or none was asked because the audit cannot be written, and why; or what
            became of it cannot be written down yet.
        :raises StoreUnavailable: nothing came of it.
        """
        answer: Deferred[Enrollment] = Deferred(canceller=lambda _: None)

        async def carry() -> None:
            try:
                with self._at_hand(row):
                    result = await self._submit(row, request, origin, answer)
            except Exception as error:
                if not answer.called:
                    answer.errback(error)
                elif not isinstance(error, AuthorityError | StoreUnavailable):
                    _log.failure("enrollment {id}: submitting failed", id=row.id)
            else:
                if not answer.called:
                    answer.callback(result)

        self._begin(carry())
        return answer

    def note(self, event: Event, row: Enrollment, **changes: Any) -> None:
        """Write down what became of an answer, when nobody waits any more: a task of its own, like a submission."""
        self._begin(self._note(event, row, **changes))

    def _begin(self, work: Coroutine[Deferred[Any], Any, Any]) -> None:
        task = Deferred.fromCoroutine(work)
        self._in_hand.add(task)
        task.addBoth(lambda _: self._in_hand.discard(task))

    @contextmanager
    def _at_hand(self, row: Enrollment) -> Iterator[None]:
        in_hand = self._ledger.in_hand
        in_hand[row.id] += 1
        try:
            yield
        finally:
            in_hand[row.id] -= 1
            if not in_hand[row.id]:
                del in_hand[row.id]

    async def settled(self) -> None:
        """Wait until what is in hand has been answered and written down."""
        await gatherResults(list(self._in_hand))

    async def _submit(
        self, row: Enrollment, request: EnrollmentRequest, origin: Origin, answer: Deferred[Enrollment]
    ) -> Enrollment:
        tries = _Tries(self.authority)
        while True:
            instance = tries.next()
            taken = await self._take(row, request, instance, origin)
            if taken is None:
                return await self._latest(row)
            await self._attest(taken, origin, answer)
            try:
                return await self._hand_over(taken, replace(request, instance=instance), answer)
            except _NotSent as failed:
                row = failed.row
                if row.state is not State.RECEIVED:
                    return row
                if answer.called:  # the client has gone, or was told to ask again: its next request is the next try
                    raise failed.trouble from None
                tries.failed(instance, failed.trouble)

    async def _take(
        self, row: Enrollment, request: EnrollmentRequest, instance: str, origin: Origin
    ) -> Enrollment | None:
        """Write down where it is going to be sent, before anything is sent."""
        return await self._ledger.happen(
            Event.TAKEN,
            row,
            origin,
            process=self._ledger.process,
            submitted=self._ledger.now(),
            reason=None,
            # It is looked for where it was sent last; the label may also have been given another CA meanwhile.
            ca_id=instance,
            profile=request.profile,
            # Even where no row has it, as when it was enrolled past kipuka, it is not the answer that gets lost.
            renews=None if request.renews is None else f"0x{request.renews.serial_number:x}",
        )

    async def _attest(self, taken: Enrollment, origin: Origin, answer: Deferred[Enrollment]) -> None:
        """Have it in the audit that it is about to be sent. Without that no CA is asked, this one or another.

        :raises AuthorityError: it is not there; the row is as it was before it was taken.
        """
        try:
            await self._ledger.attest(Event.TAKEN, taken, origin)
        except Exception as trouble:
            _log.info("enrollment {id}: {trouble}", id=taken.id, trouble=str(trouble))
            reason = trouble.text if isinstance(trouble, AuthorityError) else None
            await self._note(Event.NOT_SENT, taken, answer, reason=reason)
            raise

    async def _hand_over(
        self, taken: Enrollment, request: EnrollmentRequest, answer: Deferred[Enrollment]
    ) -> Enrollment:
        """Send it, and write down what came of it.

        :raises _NotSent: the CA certainly did nothing.
        """
        try:
            outcome = await self._ask(taken, request)
        except AuthorityError as trouble:
            _log.info("enrollment {id}: {trouble}", id=taken.id, trouble=str(trouble))
            if trouble.kind is Kind.REFUSED:
                return await self._note(Event.REFUSED, taken, answer, reason=trouble.text)
            if trouble.kind not in _NOTHING_DONE:
                return await self._note(Event.LOST, taken, answer, reason=trouble.text, absent_since=None)
            raise _NotSent(await self._note(Event.NOT_SENT, taken, answer, reason=trouble.text), trouble) from trouble
        except Exception:
            _log.failure("enrollment {id} failed in an unforeseen way", id=taken.id)
            return await self._note(Event.LOST, taken, answer, absent_since=None)
        if isinstance(outcome, Issued):
            return await self._note(Event.GRANTED, taken, answer, **granted(outcome))
        return await self._note(Event.DEFERRED, taken, answer, request_id=outcome.request_id)

    async def _ask(self, taken: Enrollment, request: EnrollmentRequest) -> Outcome:
        if taken.submitted is not None and self._ledger.now() - taken.submitted > _FRESH:
            raise AuthorityError(Kind.UNREACHABLE, "The server is too slow at the moment: try again later.")
        send_before = (taken.submitted or taken.created).timestamp() + self._send_within
        outcome = await self.authority.enroll(replace(request, send_before=send_before))
        if isinstance(outcome, Issued) and not carries_key(outcome.certificate, taken.application):
            raise AuthorityError(
                Kind.BAD_ANSWER,
                "The CA answered with a certificate for another key: tell the administrator.",
                f"serial 0x{outcome.certificate.serial_number:x} does not carry the CSR's public key",
            )
        return outcome

    async def _note(
        self, event: Event, row: Enrollment, answer: Deferred[Enrollment] | None = None, **changes: Any
    ) -> Enrollment:
        """Write down what happened, however long the store is away: nobody else knows it.

        :param answer: whose client is told so when that takes more than a moment, and not kept waiting.
        """
        failures = 0
        while True:
            try:
                noted = await self._ledger.happen(event, row, **changes)
                latest = noted or await self._latest(row)
            except StoreUnavailable as trouble:
                _log.warn("enrollment {id}: {event} not yet written down: {why}", id=row.id, event=event, why=trouble)
                failures += 1
                if failures > 1 and answer is not None and not answer.called:
                    answer.errback(trouble if event is Event.NOT_SENT else undecided(str(trouble)))
                await self._ledger.pause(_STORE_RETRY)
                continue
            if noted is not None:
                return noted
            if event is Event.GRANTED and latest.serial != changes["serial"]:
                _log.error(
                    "enrollment {id}: certificate {serial} came too late and reaches nobody: revoke it",
                    id=row.id,
                    serial=changes["serial"],
                )
            else:
                _log.info("enrollment {id}: {event} came too late, the row has moved on", id=row.id, event=event.value)
            return latest

    async def _latest(self, row: Enrollment) -> Enrollment:
        return await self._ledger.run(lambda: self._ledger.store.get(row.id)) or row


class _NotSent(Exception):  # noqa: N818 - no error: a way of the request
    """The CA certainly did nothing; ``row`` is as that was written down."""

    def __init__(self, row: Enrollment, trouble: AuthorityError) -> None:
        super().__init__(str(trouble))
        self.row = row
        self.trouble = trouble


class _Tries:
    """Where one request is tried: each CA of a pool once, a single CA twice. Never while a try is in doubt."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._pool = authority if isinstance(authority, ChoosesInstance) else None
        self._tried: list[str] = []
        self._trouble: AuthorityError | None = None

    def next(self) -> str:
        """The CA to try now.

        :raises AuthorityError: none is left.
        """
        if self._pool is None:
            return self._authority.id
        try:
            return self._pool.choose(frozenset(self._tried))
        except AuthorityError as nobody:
            raise self._trouble or nobody from None

    def failed(self, instance: str, trouble: AuthorityError) -> None:
        """Note that this CA certainly did nothing.

        :raises AuthorityError: that trouble, when there is nothing more to try.
        """
        self._tried.append(instance)
        if self._pool is None:
            if trouble.kind is not Kind.UNREACHABLE or len(self._tried) == _TRIES:
                raise trouble
        elif trouble.kind not in _ONLY_HERE:
            raise trouble
        if self._trouble is None or trouble.kind is not Kind.MISCONFIGURED:  # what passes outweighs what does not
            self._trouble = trouble


def undecided(cause: str = "") -> AuthorityError:
    """What a client is told while it is being found out, or written down, what the CA did."""
    return AuthorityError(
        Kind.UNDECIDED,
        "What became of the request at the CA is not known yet: send it again later, with the same key.",
        cause,
    )


def refused(outcome: Refused) -> dict[str, Any]:
    """The columns that a refusal fills; the client reads them."""
    return {"reason": f"The CA refused the request ({outcome.reason}): ask its operators before you ask again."}


def granted(outcome: Issued) -> dict[str, Any]:
    """The columns that an issued certificate fills."""
    certificate = outcome.certificate
    return {
        "certificate": certificate.public_bytes(Encoding.DER),
        "serial": f"0x{certificate.serial_number:x}",
        "not_after": certificate.not_valid_after_utc,
        "reason": None,
    }
