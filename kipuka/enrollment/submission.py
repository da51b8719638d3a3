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

from kipuka.authority.interface import Authority, EnrollmentRequest, Issued, Outcome, Refused
from kipuka.enrollment.application import carries_key
from kipuka.enrollment.audit import NOWHERE
from kipuka.enrollment.ledger import Ledger
from kipuka.enrollment.states import Event
from kipuka.errors import AuthorityError, Kind
from kipuka.observe.audit.record import Origin
from kipuka.store.rows import Enrollment, State
from kipuka.store.store import StoreUnavailable

_log = Logger("kipuka.enrollment")

_NOTHING_DONE = {Kind.UNREACHABLE, Kind.BUSY, Kind.MISCONFIGURED, Kind.TOO_LARGE, Kind.INVALID}
"""After these the CA certainly has not taken the request."""
_FRESH = timedelta(seconds=5)
"""What was not sent so long after it was written down is not sent any more: others may have given this process up."""
_STORE_RETRY = 1.0


class Submitter:
    """Submits rows of one CA.

    :param authority: the CA, or a pool of them.
    :param send_within: seconds in which a request must have been sent, or is not sent any more.
    """

    def __init__(self, authority: Authority, ledger: Ledger, send_within: float = 30.0) -> None:
        self.authority = authority
        self._ledger = ledger
        self._send_within = send_within
        self._in_hand: set[Deferred[None]] = set()

    def submit(
        self, row: Enrollment, request: EnrollmentRequest, *, last: bool, origin: Origin = NOWHERE
    ) -> Deferred[Enrollment]:
        """Take the row and submit the request, unless another takes it first; cancelling stops only the waiting.

        :param last: raise when the CA cannot be reached, instead of returning the row for another try.
        :param origin: of the client's request, for the audit.
        :return: the row after it.
        :raises AuthorityError: the CA certainly did nothing, and why.
        """
        answer: Deferred[Enrollment] = Deferred(canceller=lambda _: None)

        async def carry() -> None:
            try:
                with self._at_hand(row):
                    result = await self._submit(row, request, origin, last=last)
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

        async def carry() -> None:
            try:
                await self._note(event, row, **changes)
            except StoreUnavailable as trouble:
                _log.info("enrollment {id}: {event}, but {why}", id=row.id, event=event.value, why=trouble)

        self._begin(carry())

    def _begin(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
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

    async def _submit(self, row: Enrollment, request: EnrollmentRequest, origin: Origin, *, last: bool) -> Enrollment:
        ledger = self._ledger
        taken = await ledger.happen(
            Event.TAKEN,
            row,
            origin,
            process=ledger.process,
            submitted=ledger.now(),
            reason=None,
            # The label may have been given another CA since the row was written, and that is where it is looked for.
            ca_id=self.authority.id,
            profile=request.profile,
        )
        if taken is None:
            return await self._latest(row)
        try:
            await ledger.attest(Event.TAKEN, taken, origin)
            outcome = await self._ask(taken, request)
        except AuthorityError as trouble:
            _log.info("enrollment {id}: {trouble}", id=row.id, trouble=str(trouble))
            if trouble.kind is Kind.REFUSED:
                return await self._note(Event.REFUSED, taken, reason=trouble.text)
            if trouble.kind not in _NOTHING_DONE:
                return await self._note(Event.LOST, taken, reason=trouble.text, absent_since=None)
            row = await self._note(Event.NOT_SENT, taken, reason=trouble.text)
            if row.state is State.RECEIVED and (last or trouble.kind is not Kind.UNREACHABLE):
                raise
            return row
        except Exception:
            _log.failure("enrollment {id} failed in an unforeseen way", id=row.id)
            return await self._note(Event.LOST, taken, absent_since=None)
        if isinstance(outcome, Issued):
            return await self._note(Event.GRANTED, taken, **granted(outcome))
        return await self._note(Event.DEFERRED, taken, request_id=outcome.request_id)

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

    async def _note(self, event: Event, row: Enrollment, **changes: Any) -> Enrollment:
        """Write down what happened, however long the store is away: nobody else knows it."""
        while True:
            try:
                noted = await self._ledger.happen(event, row, **changes)
            except StoreUnavailable as trouble:
                _log.warn("enrollment {id}: {event} not yet written down: {why}", id=row.id, event=event, why=trouble)
                await self._ledger.pause(_STORE_RETRY)
                continue
            if noted is not None:
                return noted
            latest = await self._latest(row)
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


def refused(outcome: Refused) -> dict[str, Any]:
    """The columns that a refusal fills; the client reads them."""
    return {"reason": f"The CA refused the request ({outcome.reason}): ask its operators before you ask again."}


def granted(outcome: Issued) -> dict[str, Any]:
    """The columns that an issued certificate fills."""
    certificate = outcome.certificate
    return {
        "certificate": certificate.public_bytes(Encoding.DER),
        "serial": f"0x{certificate.serial_number:x}",
        "reason": None,
    }
