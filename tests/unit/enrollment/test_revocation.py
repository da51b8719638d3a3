"""kipuka.enrollment.revocation: which CA, which clone, and what becomes of the ledger's row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from kipuka.authority.interface import CertificateStatus, Issued
from kipuka.authority.revoking import Effect, Reason, Revoked, Standing, effect, next_step, unknown
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.registration import Registration
from kipuka.enrollment.revocation import Revocation, RevocationResult
from kipuka.enrollment.submission import Submitter
from kipuka.errors import AuthorityError, Kind, KipukaError, RequestError
from kipuka.store.rows import State
from tests.support.dogtag.standin import now
from tests.unit.enrollment.office import BOB, TIMES, FakeAuthority, Node, csr

AWAY = AuthorityError(Kind.UNREACHABLE, "The CA cannot be reached: try again later.", "refused")


class Issuer:
    """A CA that has issued these numbers; raises ``trouble`` once it is set."""

    def __init__(self, name: str, *serials: int, book: dict[int, Reason | None] | None = None) -> None:
        self.id = name
        self.book = dict.fromkeys(serials) if book is None else book
        self.trouble: Exception | None = None
        self.waits_for: Deferred[None] | None = None
        self.asked: list[str] = []

    async def owns(self, serial: int) -> Standing | None:
        self.asked.append("owns")
        if self.trouble is not None:
            raise self.trouble
        return Standing("CN=device", reason=self.book[serial]) if serial in self.book else None

    async def revoke(self, serial: int, reason: Reason) -> Revoked:
        self.asked.append("revoke")
        if self.trouble is not None:
            raise self.trouble
        if self.waits_for is not None:
            await self.waits_for
        if serial not in self.book:
            raise unknown(serial)
        step = next_step(Standing("CN=device", reason=self.book[serial]), reason)
        if isinstance(step, Effect):
            return Revoked(step, Standing("CN=device", reason=self.book[serial]))
        self.book[serial] = None if reason is Reason.REMOVE_FROM_CRL else reason
        return Revoked(effect(reason), Standing("CN=device", reason=self.book[serial]), "done")


class Room:
    """A ledger, and who revokes beside it."""

    def __init__(self, folder: Path) -> None:
        self.authority = FakeAuthority()
        self.node = Node(folder, self.authority, Clock())

    def revocation(self, *issuers: Issuer, **groups: list[Issuer]) -> Revocation:
        named: Any = {each.id: [each] for each in issuers} | groups
        return Revocation(self.node.ledger, named)

    def issued(self) -> tuple[int, x509.Certificate, x509.CertificateSigningRequest]:
        """A certificate of the CA "fake", and the row that it left in the ledger."""
        request = csr()
        certificate = now(_awaited(self.node.ask(request))).certificate
        assert certificate is not None
        return certificate.serial_number, certificate, request


async def _awaited(waiting: Deferred[Any]) -> Any:
    return await waiting


def revoke(
    revocation: Revocation, serial: int, reason: Reason = Reason.KEY_COMPROMISE, ca: str | None = None
) -> RevocationResult:
    return now(_awaited(revocation.revoke(serial, reason, ca, "token:ops")))


def failure(revocation: Revocation, serial: int, ca: str | None = None, **more: Any) -> KipukaError:
    with pytest.raises(KipukaError) as caught:
        revoke(revocation, serial, ca=ca, **more)
    return caught.value


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.node.close()


def test_the_ledger_knows_the_issuer_and_nobody_else_is_asked(room: Room) -> None:
    serial, _, _ = room.issued()
    fake, other = Issuer("fake", serial), Issuer("other", serial)
    result = revoke(room.revocation(fake, other), serial)
    assert (result.serial, result.ca_id, result.revoked.effect) == (serial, "fake", Effect.REVOKED)
    assert other.asked == []


def test_a_number_that_is_not_in_the_ledger_is_asked_of_all(room: Room) -> None:
    first, second = Issuer("first", 1), Issuer("second", 2)
    assert revoke(room.revocation(first, second), 2).ca_id == "second"
    assert first.asked == ["owns"]


def test_two_cas_with_the_same_number_are_named(room: Room) -> None:
    revocation = room.revocation(Issuer("first", 7), Issuer("second", 7), Issuer("third", 8))
    error = failure(revocation, 7)
    assert isinstance(error, RequestError)
    assert error.kind is Kind.CONFLICT
    assert "first, second" in error.text
    assert revoke(revocation, 7, ca="second").ca_id == "second"


def test_nobodys_number_and_no_such_ca(room: Room) -> None:
    revocation = room.revocation(Issuer("first", 7))
    for error in (failure(revocation, 8), failure(revocation, 8, "first"), failure(revocation, 7, "x\n" * 99)):
        assert isinstance(error, RequestError)
        assert error.kind is Kind.NOT_FOUND
        assert error.text.isprintable()


def test_a_ca_that_does_not_answer_may_be_the_one(room: Room) -> None:
    first, second = Issuer("first", 7), Issuer("second")
    second.trouble = AWAY
    revocation = room.revocation(first, second)
    for serial in (7, 8):
        error = failure(revocation, serial)
        assert isinstance(error, AuthorityError)
        assert error.kind is Kind.UNREACHABLE
        assert "The CA second cannot be asked" in error.text
    assert revoke(revocation, 7, ca="first").revoked.effect is Effect.REVOKED
    assert "Not confirmed by CA second: The CA cannot be reached" in failure(revocation, 7, "second").text


def test_a_clone_stands_in(room: Room) -> None:
    book: dict[int, Reason | None] = {7: None}
    first, clone = Issuer("ca-1", book=book), Issuer("ca-2", book=book)
    revocation = room.revocation(pool=[first, clone])
    first.trouble = AWAY
    for ca in (None, "pool", "ca-1", "ca-2"):
        assert revoke(revocation, 7, ca=ca).ca_id == "ca-2"
    first.trouble = None
    assert revoke(revocation, 7).ca_id == "ca-1"
    assert revoke(revocation, 7, ca="ca-2").ca_id == "ca-2"


def test_one_that_is_known_to_be_away_does_not_keep_its_clone_waiting(room: Room) -> None:
    book: dict[int, Reason | None] = {7: None}
    first, clone = Issuer("ca-1", book=book), Issuer("ca-2", book=book)
    away = {"ca-1"}
    revocation = Revocation(room.node.ledger, {"pool": [first, clone]}, away.__contains__)
    for ca in (None, "pool", "ca-1"):
        assert revoke(revocation, 7, ca=ca).ca_id == "ca-2"
    assert first.asked == []
    first.book = {9: None}  # the clone has not heard of it: it may be that it is back
    assert revoke(revocation, 9, ca="pool").ca_id == "ca-1"
    away.clear()
    first.book = book
    assert revoke(revocation, 7, ca="pool").ca_id == "ca-1"


def test_of_clones_the_one_that_issued_is_asked_first(room: Room) -> None:
    serial, _, _ = room.issued()
    book: dict[int, Reason | None] = {serial: None}
    first, issued = Issuer("ca-1", book=book), Issuer("fake", book=book)
    assert revoke(room.revocation(pool=[first, issued]), serial).ca_id == "fake"
    assert first.asked == []
    assert room.node.states() == [State.CLOSED]


def test_a_clone_that_does_not_know_it_yet(room: Room) -> None:
    first, clone = Issuer("ca-1", 7), Issuer("ca-2")
    revocation = room.revocation(pool=[clone, first])
    assert revoke(revocation, 7).ca_id == "ca-1"
    first.trouble = AWAY
    assert failure(revocation, 7).kind is Kind.UNREACHABLE  # not "unknown": the one that is away may know
    assert failure(revocation, 7, "pool").kind is Kind.UNREACHABLE


def test_what_cannot_be_is_a_conflict_and_no_other_clone_is_asked(room: Room) -> None:
    book: dict[int, Reason | None] = {7: Reason.SUPERSEDED}
    first, clone = Issuer("ca-1", book=book), Issuer("ca-2", book=book)
    error = failure(room.revocation(pool=[first, clone]), 7, reason=Reason.REMOVE_FROM_CRL)
    assert isinstance(error, RequestError)
    assert error.kind is Kind.CONFLICT
    assert clone.asked == []


def test_a_revoked_certificate_is_not_given_out_again(room: Room) -> None:
    serial, certificate, request = room.issued()
    assert now(_awaited(room.node.ask(request))).certificate == certificate
    revoke(room.revocation(Issuer("fake", serial)), serial)
    assert room.node.states() == [State.CLOSED]
    assert room.node.events[-1][0] is Event.OUTDATED
    again = now(_awaited(room.node.ask(request))).certificate
    assert again is not None
    assert again.serial_number != serial


def test_nor_one_on_hold_and_its_row_stays(room: Room) -> None:
    serial, certificate, request = room.issued()
    fake = Issuer("fake", serial)
    revocation = room.revocation(fake)
    revoke(revocation, serial, Reason.CERTIFICATE_HOLD)
    assert room.node.states() == [State.ISSUED]
    room.authority.statuses[serial] = CertificateStatus.REVOKED  # as the CA says
    assert now(_awaited(room.node.ask(request))).certificate != certificate


def test_already_revoked_closes_the_row_too(room: Room) -> None:
    serial, _, _ = room.issued()
    result = revoke(room.revocation(Issuer("fake", book={serial: Reason.SUPERSEDED})), serial)
    assert result.revoked.effect is Effect.ALREADY_REVOKED
    assert room.node.states() == [State.CLOSED]


def test_without_the_ledger_the_ca_must_be_named(room: Room) -> None:
    fake = Issuer("fake", 7)
    revocation = room.revocation(fake)
    room.node.broken = True
    error = failure(revocation, 7)
    assert (type(error), error.kind) == (AuthorityError, Kind.UNREACHABLE)
    assert "ca_id" in error.text
    assert revoke(revocation, 7, ca="fake").revoked.effect is Effect.REVOKED


def test_who_goes_away_does_not_stop_it(room: Room) -> None:
    fake = Issuer("fake", 7)
    fake.waits_for = Deferred()
    revocation = room.revocation(fake)
    waiting = revocation.revoke(7, Reason.SUPERSEDED, "fake", "token:ops")
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    settled = Deferred.fromCoroutine(revocation.settled())
    assert not settled.called
    fake.waits_for.callback(None)
    assert settled.called
    assert fake.book == {7: Reason.SUPERSEDED}


def test_a_number_of_a_ca_that_is_gone_is_not_revoked_at_another(room: Room) -> None:
    serial, _, _ = room.issued()
    first = Issuer("first", serial)  # which has used the same number
    error = failure(room.revocation(first), serial)
    assert isinstance(error, RequestError)
    assert (error.kind, "not configured: fake)" in error.text) == (Kind.CONFLICT, True)
    assert first.asked == []
    assert revoke(room.revocation(first), serial, ca="first").ca_id == "first"
    assert room.node.states() == [State.ISSUED]


def test_nor_where_the_ledger_has_it_of_one_that_is_there_too(room: Room) -> None:
    serial, certificate, request = room.issued()
    other = FakeAuthority()
    other.id, other.script = "other", [Issued(certificate)]
    registration = Registration(Submitter(other, room.node.ledger), room.node.ledger, TIMES, label="lab", profile="p")
    assert now(registration.enroll(request, BOB)).certificate == certificate
    fake = Issuer("fake", serial)
    error = failure(room.revocation(fake), serial)
    assert "(fake, other; not configured: other)" in error.text
    assert fake.asked == []
