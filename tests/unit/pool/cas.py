"""CAs that do what a test says, and a pool of them under a fake clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from kipuka.authority.interface import (
    Absent,
    CertificateStatus,
    EnrollmentRequest,
    Finding,
    Issued,
    Outcome,
    Pending,
    PendingRequests,
    Progress,
    Undecided,
)
from kipuka.authority.pool import Member, Pool, Thresholds, Transition, Vitals
from kipuka.authority.pool.choice import Choice, InOrder
from kipuka.errors import AuthorityError, Kind
from tests.unit.enrollment.office import CA, FakeAuthority

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def trouble(kind: Kind, *, refused: bool = False) -> AuthorityError:
    """What a CA in trouble raises; refused: nothing listens at its port."""
    error = AuthorityError(kind, f"The CA is in trouble ({kind.value}): try again later.")
    error.connection_refused = refused
    return error


def gone() -> AuthorityError:
    """What kill -9 of a CA looks like."""
    return trouble(Kind.UNREACHABLE, refused=True)


class FakeCa(FakeAuthority):
    """Everything a member of a pool can be asked.

    ``away`` is raised by every call; ``script`` says what becomes of each enrollment. ``finding`` and ``standing`` are
    what it has of a request.
    """

    def __init__(self, id: str) -> None:  # noqa: A002 - the interface's word
        super().__init__()
        self.id = id
        self.away: AuthorityError | None = None
        self.finding: Finding = Absent()
        self.standing: Progress = Undecided("404")
        self.pending = frozenset[str]()
        self.calls: list[str] = []
        self.probes: list[Any] = []
        self.is_closed = False

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.away is not None:
            raise self.away

    async def chain(self) -> tuple[x509.Certificate, ...]:
        self._called("chain")
        return (CA.certificate,)

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        self._called("enroll")
        return await super().enroll(request)

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        self._called("status")
        return await super().status(certificate)

    async def still_pending(self, expected: int) -> PendingRequests:
        self._called("still_pending")
        return PendingRequests(self.pending, complete=True)

    async def progress(self, request_id: str) -> Progress:
        self._called("progress")
        return self.standing

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        self._called("find")
        return self.finding

    async def probe(self) -> None:
        self._called("probe")
        step = self.probes.pop(0) if self.probes else None
        if isinstance(step, Deferred):
            await step
        if isinstance(step, Exception):
            raise step

    async def close(self) -> None:
        self.is_closed = True


class Group:
    """A pool "pool" of fake CAs "a", "b", ...; everything happens when the clock says so."""

    def __init__(
        self,
        clock: Clock,
        number: int = 2,
        choice: Choice | None = None,
        thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
        capacity: int = 2,
    ) -> None:
        self.transitions: list[Transition] = []
        self.cas = [FakeCa("abcdef"[n]) for n in range(number)]
        self.members = [self._member(ca, clock, thresholds, capacity) for ca in self.cas]
        self.pool = Pool("pool", self.members, choice or InOrder())

    def _member(self, ca: FakeCa, clock: Clock, thresholds: Thresholds, capacity: int) -> Member:
        vitals = Vitals(ca.id, clock, thresholds, "pool", self.transitions.append)
        return Member(ca, vitals, clock, capacity)

    def break_down(self, position: int, error: AuthorityError) -> None:
        """Have a CA fail from now on, and its breaker know it."""
        self.cas[position].away = error
        for _ in range(3):
            self.probe(position)

    def probe(self, position: int) -> None:
        """Probe a CA now; nothing is waited for."""
        run(self.members[position].vitals.probe(self.cas[position].probe))


def run(coroutine: Any) -> Any:
    """What a coroutine comes to without waiting; raises what it raises."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "still waiting"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def issued(csr: x509.CertificateSigningRequest) -> Issued:
    """A certificate for the CSR."""
    return FakeAuthority.issue(csr)


def pending(number: str) -> Pending:
    """A request that waits."""
    return Pending(number)


Work = Callable[[], Any]
