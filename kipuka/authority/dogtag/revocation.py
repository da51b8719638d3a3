"""Withdrawing certificates at a Dogtag: review for the nonce, act, look what it came to."""

from __future__ import annotations

from twisted.internet.defer import DeferredLock
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.calls import Calls
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.revoking import Effect, Reason, Revoked, Standing, Step, effect, next_step, unknown
from kipuka.errors import AuthorityError, Kind

_FAILURES = 2
"""An act that fails is tried once more: its nonce may be gone (400, 403), or its answer was lost."""
_ACTS = 4
"""A certificate on hold takes two acts, and each may fail once; a CA that says "success" and does nothing ends here."""
_REVOKED = ("REVOKED", "REVOKED_EXPIRED")
MOST_WAITING = 16
"""So many may wait for their turn; those that come then are told so at once."""


class Revocation:
    """Revokes at one server, one certificate after the other.

    Dogtag wants proof that the agent has just looked at the certificate: a nonce, which belongs to the session in
    which the certificate was reviewed. A second review replaces it (11.x), a hundred others drive it out. So revocation
    has a session for itself and does one thing at a time in it.

    :param call: over a client with a session of its own.
    :param patience: seconds that one waits for its turn; whose turn has not come by then is not begun any more.
    """

    def __init__(self, call: Calls, clock: IReactorTime, patience: float) -> None:
        self._call = call
        self._clock = clock
        self._patience = patience
        self._turn = DeferredLock()

    async def owns(self, serial: int) -> Standing | None:
        """Return how a certificate stands in the CA's own database; None when it has none of this number.

        :raises AuthorityError: the CA cannot say now.
        """
        record = await self._look(Operation.CERTIFICATE, serial)
        return None if record is None else _standing(record)

    async def revoke(self, serial: int, reason: Reason) -> Revoked:
        """Look, act, look again, until the certificate stands as it is wanted.

        The last word is always a look at the certificate: what became of an answer that was lost is found out that
        way, and nothing is believed that the CA's database does not show.

        :raises AuthorityError: NOT_FOUND, CONFLICT; else trouble, which leaves open whether it was done. The text says
            so when a certificate may have been taken off hold and is not revoked after it. BUSY, when too many others
            are before it.
        """
        done: list[Step] = []
        await self._wait()
        try:
            return await self._drive(serial, reason, done)
        except AuthorityError as trouble:
            if Step.RELEASE in done and reason is not Reason.REMOVE_FROM_CRL:
                raise AuthorityError(
                    trouble.kind,
                    "The certificate was to be taken off hold and revoked again, and may now be neither: "
                    "ask for the revocation again at once.",
                    str(trouble),
                ) from trouble
            raise
        finally:
            self._turn.release()

    async def _wait(self) -> None:
        if len(self._turn.waiting) >= MOST_WAITING:
            raise outcome.error(Kind.BUSY, f"{MOST_WAITING} revocations wait for their turn already")
        try:
            await self._turn.acquire().addTimeout(self._patience, self._clock)
        except TookTooLong:
            raise outcome.error(Kind.BUSY, "those before it took too long: it was not begun") from None

    async def _drive(self, serial: int, reason: Reason, done: list[Step]) -> Revoked:
        """Do what :meth:`revoke` says, and note in ``done`` what was tried."""
        said, failures = "", 0
        while True:
            record = await self._look(Operation.CERTIFICATE_REVIEW, serial)
            if record is None:
                raise unknown(serial)
            standing = _standing(record)
            step = next_step(standing, reason)
            if isinstance(step, Effect):
                return Revoked(effect(reason) if done and _is_wanted(standing, reason) else step, standing, said)
            if record.certificate.subject == record.certificate.issuer:
                raise AuthorityError(
                    Kind.CONFLICT, "This is the CA's own certificate: revoke it with the CA's own tools, if at all."
                )
            if len(done) == _ACTS:
                raise outcome.error(Kind.BAD_ANSWER, f"{said}, but the certificate is {record.status} as before")
            done.append(step)
            try:
                said = await self._act(step, serial, reason, record.nonce)
            except AuthorityError:
                failures += 1
                if failures == _FAILURES:
                    raise

    async def _act(self, step: Step, serial: int, reason: Reason, nonce: int | None) -> str:
        """Do one thing and return the CA's words about it."""
        if step is Step.RELEASE:  # takes no nonce
            answer = await self._call(Operation.UNREVOKE, hex(serial), b"")
        else:
            answer = await self._call(Operation.REVOKE, hex(serial), wire.revocation_body(reason, nonce))
        if answer.status != 200:
            raise outcome.failure(answer)
        succeeded, said = wire.withdrawn(answer)
        if not succeeded:
            raise outcome.error(Kind.BAD_ANSWER, said)
        return said

    async def _look(self, operation: Operation, serial: int) -> wire.CertificateRecord | None:
        answer = await self._call(operation, hex(serial))
        if outcome.no_such_certificate(answer):
            return None
        if answer.status != 200:
            raise outcome.failure(answer)
        record = wire.certificate(answer)
        if record.certificate.serial_number != serial:
            raise outcome.error(Kind.BAD_ANSWER, f"certificate {serial:#x}: another one was shown")
        return record


def _standing(record: wire.CertificateRecord) -> Standing:
    reason = None
    if record.status in _REVOKED:
        reason = Reason.of_code(record.reason or 0)
    return Standing(record.certificate.subject.rfc4514_string(), record.certificate, reason, record.revoked_on)


def _is_wanted(standing: Standing, reason: Reason) -> bool:
    """Tell whether it stands so by what was done here, and not by somebody else who was faster."""
    return standing.reason is (None if reason is Reason.REMOVE_FROM_CRL else reason)
