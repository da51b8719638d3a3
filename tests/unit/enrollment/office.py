"""A ledger on a real SQLite file with a fake clock and a CA that does what the test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Issued, Outcome, Pending
from kipuka.enrollment.ledger.application import Applicant
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.registration import Answered, Registration, Times
from kipuka.enrollment.submission import Submitter
from kipuka.store.rows import Enrollment, State
from kipuka.store.store import Store, StoreUnavailable
from tests.support import pki

ALICE, BOB = Applicant("user:alice", "user:alice"), Applicant("user:bob", "user:bob")
TIMES = Times(approval=60, answer=20, replay=600)
CA = pki.root("CN=Fake CA")
DAYS = 365
"""How long its certificates are valid."""


class FakeAuthority:
    """Does what ``script`` says, call by call: an outcome, an exception, or a Deferred of either."""

    id = "fake"

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.asked: list[EnrollmentRequest] = []
        self.on_call: Callable[[], None] = lambda: None
        self.statuses: dict[int, CertificateStatus] = {}
        self.above: tuple[x509.Certificate, ...] = ()

    async def chain(self) -> tuple[x509.Certificate, ...]:
        return (CA.certificate, *self.above)

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        self.asked.append(request)
        self.on_call()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Deferred):
            step = await step
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, Issued | Pending) else self.issue(request.csr)

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        return self.statuses.get(certificate.serial_number, CertificateStatus.GOOD)

    async def close(self) -> None:
        pass

    @staticmethod
    def issue(csr: x509.CertificateSigningRequest) -> Issued:
        key: Any = type("Key", (), {"public_key": staticmethod(csr.public_key)})()
        return Issued(CA.certify(key, csr.subject, not_after=pki.NOW + timedelta(days=DAYS)))


class Node:
    """One process: a ledger of its own over a store that others may share."""

    def __init__(self, folder: Path, authority: FakeAuthority, clock: Clock, name: str = "node-1") -> None:
        self.store = Store.open(f"sqlite:///{folder / 'ledger.db'}")
        self.broken = False
        self._held: list[tuple[Deferred[Any], Any]] | None = None
        self._calls_to_hold = 0
        self.events: list[tuple[Event, int]] = []
        self.ledger = Ledger(lambda: self.store, self._run, clock, name, self._record)
        self.ledger.open()
        self.ledger.start()
        self.submitter = Submitter(authority, self.ledger)
        self.registration = Registration(self.submitter, self.ledger, TIMES, label="lab", profile="p")

    def hold(self, after: int) -> None:
        """Stand still once so many more calls of the store are done, before anybody hears of the last one's result."""
        self._calls_to_hold = after

    def go_on(self, *, unconfirmed: bool = False) -> None:
        """Hear of what came of the calls since then, or that the connection was lost before the store could say."""
        held, self._held = self._held or [], None
        for waiting, result in held:
            if unconfirmed:
                result.addErrback(lambda _: None)
                waiting.errback(StoreUnavailable("the connection was lost"))
            elif not waiting.called:
                result.addBoth(waiting.callback)

    def _run(self, work: Callable[[], Any]) -> Deferred[Any]:
        def unless_broken() -> object:
            if self.broken:
                raise StoreUnavailable("the disk is full")
            return work()

        if self._held is None and self._calls_to_hold:
            self._calls_to_hold -= 1
            if not self._calls_to_hold:
                self._held = []
        if self._held is None:
            return maybeDeferred(unless_broken)
        waiting: Deferred[Any] = Deferred()
        self._held.append((waiting, maybeDeferred(unless_broken)))
        return waiting

    def _record(self, event: Event, row: Enrollment) -> None:
        self.events.append((event, row.id))

    def ask(self, csr: x509.CertificateSigningRequest, caller: Applicant = ALICE) -> Deferred[Answered]:
        return Deferred.fromCoroutine(self.registration.enroll(csr, caller))

    def rows(self) -> list[Enrollment]:
        return self.store.page()

    def states(self) -> list[State]:
        return [row.state for row in reversed(self.rows())]

    def close(self) -> None:
        self.store.close()


def csr(key: pki.PrivateKey | None = None, subject: str = "CN=device", **more: Any) -> x509.CertificateSigningRequest:
    return pki.csr(key or pki.ec_key(), subject, **more)


def der(certificate: x509.Certificate | None) -> bytes:
    assert certificate is not None
    return certificate.public_bytes(Encoding.DER)
