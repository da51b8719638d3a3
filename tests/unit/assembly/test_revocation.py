"""kipuka.assembly.cas.revocation: who revokes for whom, and what an administrator is told."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from cryptography import x509
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from kipuka.assembly.cas.pools import Pools
from kipuka.assembly.cas.revocation import Books, ForAdministrators, Lists, issuers
from kipuka.assembly.listener import Face, Front
from kipuka.authority.interface import Authority, EnrollmentRequest, Issued
from kipuka.authority.local import LocalAuthority
from kipuka.authority.local.book import Book
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.revoking import Effect, Reason, Revoked, Standing
from kipuka.config.model import Server
from kipuka.enrollment.revocation import Revocation, RevocationResult
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.tls.contexts import ServerMaterial
from kipuka.web.admin.backend import UNKNOWN
from kipuka.web.admin.backend import Standing as Shown
from kipuka.web.http.tree import Tree
from tests.support import pki
from tests.support.book import MemoryBook
from tests.support.dogtag.standin import StandIn, now
from tests.unit.enrollment.office import FakeAuthority
from tests.unit.tls.test_failures import SERVER, handshake, show

T = TypeVar("T")


def test_members_of_a_group_stand_in_for_each_other_in_its_order() -> None:
    cas = {name: StandIn().authority() for name in ("one", "two", "three")}
    members = [SimpleNamespace(id="two"), SimpleNamespace(id="one")]
    grouped = Pools({"pool": cast("Any", SimpleNamespace(members=members))}, {}, {}, {}, {})
    others: dict[str, Authority] = {"deaf": FakeAuthority()}  # one that cannot revoke
    assert issuers(cas | others, grouped) == {"three": [cas["three"]], "pool": [cas["two"], cas["one"]]}


def test_only_a_ca_whose_breaker_is_open_counts_as_away() -> None:
    watches = {each.value: SimpleNamespace(vitals=SimpleNamespace(circuit=each)) for each in Circuit}
    grouped = Pools({}, cast("Any", watches), {}, {}, {})
    assert [each for each in (*watches, "not watched") if grouped.is_away(each)] == ["open"]


class Gate(MemoryBook):
    """A book that is had when ``opened`` has fired."""

    opened: Deferred[None] = succeed(None)

    async def __call__(self, work: Callable[[Book], T], /) -> T:
        await self.opened
        return await super().__call__(work)


def test_a_revocation_that_ends_after_a_reload_brings_no_crl_back() -> None:
    """Of a CA that is gone nobody would renew it, and once it is out of date all its clients would be refused."""
    book, clock, issuer = Gate(), Clock(), pki.root("CN=File CA")
    clock.advance(pki.NOW.timestamp())
    ca = LocalAuthority("gone", issuer.certificate, issuer.key, (), 30, clock, book)
    key = pki.ec_key()
    outcome = now(ca.enroll(EnrollmentRequest(pki.csr(key, "CN=device"), None, "test")))
    assert isinstance(outcome, Issued)
    device = show(pki.Identity(outcome.certificate, key))
    ca.revocation.prepare(book)
    material = ServerMaterial(SERVER.chain, SERVER.key, trust_anchors=(issuer.certificate,))
    face, server = Face(Tree(Resource(), {}), material), Server()
    silent = {"metrics": SimpleNamespace(handshake_failed=str), "trail": SimpleNamespace(note=str)}
    front = Front([], face, Lists([ca]), server, cast("Any", SimpleNamespace(reactor=clock, **silent)), "EST")
    now(ca.revoke(outcome.certificate.serial_number, Reason.CERTIFICATE_HOLD))
    assert handshake(front._connections, device) != "no failure"
    book.opened = Deferred()
    ended: list[Any] = []
    revoking = ca.revoke(outcome.certificate.serial_number, Reason.KEY_COMPROMISE)
    Deferred.fromCoroutine(revoking).addBoth(ended.append)
    front.show(face, Lists([]), server)
    assert handshake(front._connections, device) == "no failure"
    book.opened.callback(None)
    assert ended[0].effect is Effect.REVOKED
    assert handshake(front._connections, device) == "no failure"


def test_how_certificates_stand_by_the_books_of_file_cas() -> None:
    book, clock = MemoryBook(), Clock()
    clock.advance(pki.NOW.timestamp())
    issuer, dogtag = pki.root("CN=File CA"), pki.root("CN=Dogtag CA")
    ca = LocalAuthority("main", issuer.certificate, issuer.key, (), 30, clock, book)

    def issue() -> x509.Certificate:
        outcome = now(ca.enroll(EnrollmentRequest(pki.csr(pki.ec_key(), "CN=device"), None, "test")))
        assert isinstance(outcome, Issued)
        return outcome.certificate

    good, revoked, held = issue(), issue(), issue()
    now(ca.revoke(revoked.serial_number, Reason.KEY_COMPROMISE))
    now(ca.revoke(held.serial_number, Reason.CERTIFICATE_HOLD))
    elsewhere, others = issuer.client("CN=signed elsewhere"), dogtag.client("CN=device")
    # Another CA may have used the same number; its name tells them apart.
    same = dogtag.certify(pki.ec_key(), "CN=device", serial=revoked.serial_number)
    books = Books([StandIn().authority(), ca])
    asked = [others.certificate, held, same, good, revoked, elsewhere.certificate]
    assert now(books.of(asked)) == [
        UNKNOWN,
        Shown("revoked", pki.NOW, "certificateHold"),
        UNKNOWN,
        Shown("good"),
        Shown("revoked", pki.NOW, "keyCompromise"),
        UNKNOWN,
    ]
    book.trouble = AuthorityError(Kind.UNREACHABLE, "no", "the database is away")
    with pytest.raises(RequestError) as caught:
        now(books.of(asked))
    assert (caught.value.kind, caught.value.cause) == (Kind.BUSY, "the database is away")
    assert now(books.of([others.certificate])) == [UNKNOWN]  # which takes no book


class Asked:
    """Revokes everything."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Reason, str | None, str]] = []

    def revoke(self, serial: int, reason: Reason, ca_id: str | None, by: str) -> Deferred[RevocationResult]:
        self.asked.append((serial, reason, ca_id, by))
        standing = Standing("CN=device-1", None, reason, pki.NOW)
        return succeed(RevocationResult(serial, "main", Revoked(Effect.REVOKED, standing, "done")))


def test_what_an_administrator_is_told() -> None:
    asked = Asked()
    told = now(ForAdministrators(cast("Revocation", asked)).revoke(26, "keyCompromise", None, "token:ops"))
    assert asked.asked == [(26, Reason.KEY_COMPROMISE, None, "token:ops")]
    assert told == {
        "serial": "0x1a",
        "ca_id": "main",
        "outcome": "revoked",
        "subject": "CN=device-1",
        "reason": "keyCompromise",
        "since": pki.NOW.isoformat(),
        "said": "done",
    }
