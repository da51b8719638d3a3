"""kipuka.authority.local: what is revoked, the CRL that says so, and its renewal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Issued
from kipuka.authority.local import LocalAuthority
from kipuka.authority.local.crl import LIFE
from kipuka.authority.local.revocation import WATCH
from kipuka.authority.local.signing import key_hash
from kipuka.authority.revoking import Effect, Reason
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.book import MemoryBook
from tests.support.dogtag.standin import now

DAY = timedelta(days=1)
FIRST = int(pki.NOW.timestamp() * 1000)
"""The number of a CRL is the time, or one more than the last."""


class Node:
    """A CA with its clock, and the CRLs it told of."""

    def __init__(
        self, issuer: pki.Issuer, book: MemoryBook, clock: Clock | None = None, days: int = 30, name: str = "main"
    ) -> None:
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(pki.NOW.timestamp())
        self.ca = LocalAuthority(name, issuer.certificate, issuer.key, (), days, self.clock, book)
        self.told: list[x509.CertificateRevocationList] = []
        self.ca.revocation.tell(self.told.append)
        self.ca.revocation.prepare(book)
        self.ca.revocation.start()

    def issue(self) -> x509.Certificate:
        outcome = now(self.ca.enroll(EnrollmentRequest(pki.csr(pki.ec_key(), "CN=device"), None, "test")))
        assert isinstance(outcome, Issued)
        return outcome.certificate

    def number(self) -> int:
        return self.told[-1].extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.fixture
def book() -> MemoryBook:
    return MemoryBook()


@pytest.fixture
def issuer() -> pki.Issuer:
    return pki.root("CN=File CA")


@pytest.fixture
def node(issuer: pki.Issuer, book: MemoryBook) -> Node:
    return Node(issuer, book)


def reasons(crl: x509.CertificateRevocationList) -> dict[int, x509.ReasonFlags | None]:
    found: dict[int, x509.ReasonFlags | None] = {}
    for each in crl:
        given = [extension.value.reason for extension in each.extensions if extension.oid == x509.CRLReason.oid]
        found[each.serial_number] = given[0] if given else None
    return found


def test_the_first_crl_is_empty_and_complete(node: Node, issuer: pki.Issuer) -> None:
    (crl,) = node.told
    assert list(crl) == []
    assert crl.issuer == issuer.certificate.subject
    assert crl.is_signature_valid(issuer.certificate.public_key())
    assert (crl.last_update_utc, crl.next_update_utc) == (pki.NOW, pki.NOW + LIFE)
    key = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    issued = node.issue().extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert key.value == issued.value
    assert node.number() == FIRST
    assert not any(each.critical for each in crl.extensions)


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.REMOVE_FROM_CRL])
def test_every_reason_is_on_the_crl(node: Node, reason: Reason) -> None:
    good, bad = node.issue(), node.issue()
    revoked = now(node.ca.revoke(bad.serial_number, reason))
    assert revoked.effect is (Effect.ON_HOLD if reason is Reason.CERTIFICATE_HOLD else Effect.REVOKED)
    assert (revoked.standing.reason, revoked.standing.since) == (reason, pki.NOW)
    assert revoked.standing.subject == "CN=device"
    assert revoked.said == f"CRL {FIRST + 1} is published"
    flag = reasons(node.told[-1])[bad.serial_number]
    assert (flag.value if flag else "unspecified").lower() == reason.value.lower()  # cryptography has "cACompromise"
    assert node.told[-1].get_revoked_certificate_by_serial_number(good.serial_number) is None
    assert now(node.ca.status(bad)) is CertificateStatus.REVOKED
    assert now(node.ca.status(good)) is CertificateStatus.GOOD


def test_a_long_crl_is_not_copied_for_each_entry(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        now(node.ca.revoke(node.issue().serial_number, Reason.SUPERSEDED))
    made: list[x509.CertificateRevocationListBuilder] = []
    init = x509.CertificateRevocationListBuilder.__init__

    def counting(self: x509.CertificateRevocationListBuilder, *args: Any, **options: Any) -> None:
        made.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(x509.CertificateRevocationListBuilder, "__init__", counting)
    now(node.ca.revoke(node.issue().serial_number, Reason.SUPERSEDED))
    assert len(reasons(node.told[-1])) == 21
    assert len(made) < 10  # each of them has a list of its own


def test_hold_release_and_hold_to_another_reason(node: Node) -> None:
    certificate = node.issue()
    serial = certificate.serial_number
    now(node.ca.revoke(serial, Reason.CERTIFICATE_HOLD))
    assert now(node.ca.revoke(serial, Reason.CERTIFICATE_HOLD)).said == ""
    assert now(node.ca.revoke(serial, Reason.REMOVE_FROM_CRL)).effect is Effect.RELEASED
    assert reasons(node.told[-1]) == {}
    assert now(node.ca.status(certificate)) is CertificateStatus.GOOD
    assert now(node.ca.revoke(serial, Reason.REMOVE_FROM_CRL)).effect is Effect.NOT_ON_HOLD
    now(node.ca.revoke(serial, Reason.CERTIFICATE_HOLD))
    before = len(node.told)
    assert now(node.ca.revoke(serial, Reason.KEY_COMPROMISE)).effect is Effect.REVOKED
    assert len(node.told) == before + 1  # never off the list in between
    again = now(node.ca.revoke(serial, Reason.CERTIFICATE_HOLD))
    assert (again.effect, again.standing.reason) == (Effect.ALREADY_REVOKED, Reason.KEY_COMPROMISE)
    with pytest.raises(AuthorityError) as caught:
        now(node.ca.revoke(serial, Reason.REMOVE_FROM_CRL))
    assert caught.value.kind is Kind.CONFLICT


def test_nobodys_number(node: Node) -> None:
    assert now(node.ca.owns(12345)) is None
    with pytest.raises(AuthorityError) as caught:
        now(node.ca.revoke(12345, Reason.SUPERSEDED))
    assert caught.value.kind is Kind.NOT_FOUND
    assert len(node.told) == 1


def test_what_cannot_be_written_down_is_not_issued(node: Node, book: MemoryBook) -> None:
    book.trouble = AuthorityError(Kind.UNREACHABLE, "no")
    with pytest.raises(AuthorityError):
        node.issue()
    assert book.entries == {}


def test_it_is_renewed_before_its_time_is_over(node: Node) -> None:
    for _ in range(int(3 * DAY.total_seconds() / 600)):
        node.clock.advance(600)
        crl = node.ca.revocation.published
        assert crl is not None
        assert crl.parsed.next_update_utc is not None
        left = crl.parsed.next_update_utc.timestamp() - node.clock.seconds()
        assert left > LIFE.total_seconds() / 2 - 601
    assert 6 <= len({each.extensions.get_extension_for_class(x509.CRLNumber) for each in node.told}) <= 8
    assert [each.last_update_utc for each in node.told] == sorted(each.last_update_utc for each in node.told)


def test_a_book_that_is_away_keeps_the_old_crl_and_not_the_loop_from_going_on(node: Node, book: MemoryBook) -> None:
    book.trouble = AuthorityError(Kind.UNREACHABLE, "away")
    node.clock.advance(DAY.total_seconds() * 0.75)
    assert node.number() == FIRST
    book.trouble = None
    node.clock.advance(WATCH)
    assert node.number() > FIRST


def test_another_node_sees_it_within_seconds(node: Node, issuer: pki.Issuer, book: MemoryBook) -> None:
    other = Node(issuer, book, node.clock)
    serial = node.issue().serial_number
    now(node.ca.revoke(serial, Reason.SUPERSEDED))
    assert reasons(other.told[-1]) == {}
    other.clock.advance(WATCH)
    assert set(reasons(other.told[-1])) == {serial}
    assert node.number() == other.number()


def test_what_has_expired_leaves_the_list(issuer: pki.Issuer, book: MemoryBook) -> None:
    node = Node(issuer, book, days=1)
    serial = node.issue().serial_number
    now(node.ca.revoke(serial, Reason.SUPERSEDED))
    node.clock.advance(1.5 * DAY.total_seconds())
    assert serial in reasons(node.told[-1])  # on one CRL after it has expired (RFC 5280 section 3.3)
    node.clock.advance(2 * DAY.total_seconds())
    assert reasons(node.told[-1]) == {}


def test_a_listener_that_fails_keeps_no_crl_from_the_next(node: Node) -> None:
    def fail(_: x509.CertificateRevocationList) -> None:
        raise RuntimeError("broken")

    revocation = node.ca.revocation
    revocation._told.insert(0, fail)
    certificate = node.issue()
    with capturedLogs() as events:
        assert now(node.ca.revoke(certificate.serial_number, Reason.SUPERSEDED)).effect is Effect.REVOKED
    assert list(reasons(node.told[-1])) == [certificate.serial_number]
    assert ["does not take the CRL" in formatEvent(event) for event in events].count(True) == 1


def test_a_clock_that_is_once_ahead_makes_no_revocation_forgotten(
    node: Node, issuer: pki.Issuer, book: MemoryBook
) -> None:
    serial = node.issue().serial_number
    now(node.ca.revoke(serial, Reason.KEY_COMPROMISE))
    ahead = Clock()
    ahead.advance((pki.NOW + 120 * DAY).timestamp())
    for _ in range(2):
        Node(issuer, book, ahead)  # each a start
        assert now(node.ca.owns(serial))
    assert set(reasons(Node(issuer, book, node.clock).told[-1])) == {serial}


def test_what_had_expired_long_before_the_last_crl_is_forgotten(node: Node) -> None:
    serial = node.issue().serial_number
    node.clock.advance(120 * DAY.total_seconds())  # the one that is made now is the first to tell of this time
    assert now(node.ca.owns(serial))
    node.clock.advance(DAY.total_seconds())
    assert now(node.ca.owns(serial)) is None


def test_a_crl_of_another_key_is_not_believed(node: Node, issuer: pki.Issuer, book: MemoryBook) -> None:
    stranger = Node(pki.root("CN=File CA"), book)
    (theirs,) = (each for ca, each in book.lists.items() if ca != key_hash(issuer.certificate))
    book.lists[key_hash(issuer.certificate)] = replace(theirs, number=FIRST + 100)
    node.clock.advance(WATCH)
    assert (node.number(), len(node.told)) == (FIRST, 1)
    assert stranger.number() == FIRST


def test_under_another_id_it_is_the_same_ca(node: Node, issuer: pki.Issuer, book: MemoryBook) -> None:
    certificate = node.issue()
    now(node.ca.revoke(certificate.serial_number, Reason.KEY_COMPROMISE))
    for start in ("restart", "reload"):
        other = Node(issuer, MemoryBook() if start == "reload" else book, node.clock, name="new")
        if start == "reload":  # what is served is there already, and the CA comes to it
            other.ca = LocalAuthority("new", issuer.certificate, issuer.key, (), 30, node.clock, book)
            other.ca.revocation.tell(other.told.append)
            now(other.ca.revocation.catch_up())
        assert set(reasons(other.told[-1])) == {certificate.serial_number}, start
        assert other.number() > FIRST
        assert now(other.ca.status(certificate)) is CertificateStatus.REVOKED
        assert now(other.ca.revoke(certificate.serial_number, Reason.SUPERSEDED)).effect is Effect.ALREADY_REVOKED


def test_under_another_name_the_crl_is_made_anew(node: Node, issuer: pki.Issuer, book: MemoryBook) -> None:
    """Whoever checks certificates of the new name looks for a CRL of that name."""
    serial = node.issue().serial_number
    now(node.ca.revoke(serial, Reason.KEY_COMPROMISE))
    renamed = pki.root("CN=New name", issuer.key)
    ca = LocalAuthority("main", renamed.certificate, renamed.key, (), 30, node.clock, book)
    now(ca.revocation.catch_up())
    assert ca.revocation.published is not None
    assert ca.revocation.published.parsed.issuer == renamed.certificate.subject
    assert set(reasons(ca.revocation.published.parsed)) == {serial}


def test_without_crl_sign_it_is_written_down_and_said(book: MemoryBook) -> None:
    key = pki.ec_key()
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (pki._key_usage(digital_signature=False, key_cert_sign=True), True),
    ]
    issuer = pki.Issuer(pki.root().certify(key, "CN=No CRLs", extensions=extensions), key)
    node = Node(issuer, book)
    certificate = node.issue()
    revoked = now(node.ca.revoke(certificate.serial_number, Reason.SUPERSEDED))
    assert revoked.effect is Effect.REVOKED
    assert "cRLSign" in revoked.said
    assert now(node.ca.status(certificate)) is CertificateStatus.REVOKED
    assert node.told == []


def test_an_ed25519_ca(book: MemoryBook) -> None:
    issuer = pki.root("CN=Edwards", ed25519.Ed25519PrivateKey.generate())
    node = Node(issuer, book)
    now(node.ca.revoke(node.issue().serial_number, Reason.SUPERSEDED))
    assert node.told[-1].is_signature_valid(issuer.certificate.public_key())


def test_stopping_ends_the_loop(node: Node) -> None:
    now(node.ca.revocation.stop())
    assert node.clock.getDelayedCalls() == []
