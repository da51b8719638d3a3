"""Looking a lost request up at a Dogtag by its public key."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.authority.dogtag import DogtagAuthority, lookup, reading, wire
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import (
    Absent,
    EnrollmentRequest,
    Finding,
    FindsRequests,
    InProgress,
    Issued,
    Pending,
    Refused,
)
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag import transcript
from tests.support.dogtag.standin import HTML_404, StandIn, now

MANUAL = "kipukaServerManual"
REVIEWS = 5
"""So many calls come before a look-up's first review: a search by name, and four lists."""
SUBJECT = "CN=lost.kipuka.test,O=KIPUKA"
LISTS = "/ca/rest/agent/certrequests?requestState="
LDAP_DOWN = transcript.read("10.10.2/66-requests-ds-down.txt")
SEARCHES = transcript.read("10.10.2/35-cert-search.txt")
DELETED = transcript.read("10.10.2/36-profile-deleted.txt")


class Lost:
    """A request at a stand-in whose answer kipuka never saw."""

    def __init__(self, dogtag: StandIn, profile: str = "kipukaServer", subject: str = SUBJECT) -> None:
        self.dogtag = dogtag
        self.since = datetime.now(UTC) - timedelta(minutes=5)
        self.csr = pki.csr(pki.ec_key(), subject)
        self.outcome = now(dogtag.authority().enroll(EnrollmentRequest(self.csr, profile, "test")))
        dogtag.calls.clear()

    @property
    def number(self) -> int:
        assert isinstance(self.outcome, Pending)
        return int(self.outcome.request_id)

    @property
    def serial(self) -> str:
        assert isinstance(self.outcome, Issued)
        return hex(self.outcome.certificate.serial_number)

    def stands(self, status: str) -> None:
        self.dogtag.requests[self.number]["requestStatus"] = status

    def find(
        self,
        authority: DogtagAuthority | None = None,
        *,
        subject: str = SUBJECT,
        since: datetime | None = None,
        known: tuple[str, ...] = (),
    ) -> Finding:
        """Look it up, at a CA that has seen nothing yet unless told."""
        authority = authority or self.dogtag.authority()
        return now(authority.find(key(self.csr), subject, since or self.since, frozenset(known)))


def key(source: x509.Certificate | x509.CertificateSigningRequest) -> str:
    digest = wire.key_digest(source)
    assert digest is not None
    return digest


def fetches(dogtag: StandIn) -> list[str]:
    return [path for method, path in dogtag.calls if method == "GET" and path.startswith("/ca/rest/certs/0x")]


def reviews(dogtag: StandIn) -> list[str]:
    return [path for _, path in dogtag.calls if path.startswith("/ca/rest/agent/certrequests/")]


def test_a_dogtag_finds_requests() -> None:
    assert isinstance(StandIn().authority(), FindsRequests)


# --- certificates


def test_what_was_issued_is_found_by_its_name_in_two_calls() -> None:
    lost = Lost(StandIn())
    assert lost.find() == lost.outcome
    assert len(lost.dogtag.calls) == 2


def test_only_the_key_decides_among_certificates_of_one_name() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag) for _ in range(3)]
    for lost in several:
        assert lost.find() == lost.outcome


@pytest.mark.parametrize("subject", ["CN=another", "O=without", "not a subject at all", ""])
def test_a_certificate_under_another_subject_is_found_too(subject: str) -> None:
    lost = Lost(StandIn())
    assert lost.find(subject=subject) == lost.outcome


def test_certificates_issued_before_are_not_meant() -> None:
    lost = Lost(StandIn())
    assert lost.find(since=datetime.now(UTC) + timedelta(seconds=2)) == Absent()


def test_a_certificate_issued_in_the_very_second_is_meant() -> None:
    lost = Lost(StandIn())
    issued_on = lost.dogtag.issued_on[int(lost.serial, 16)].replace(microsecond=0)
    lost.dogtag.issued_on[int(lost.serial, 16)] = issued_on
    assert lost.find(since=issued_on + timedelta(milliseconds=999)) == lost.outcome


def test_a_certificate_of_another_enrollment_with_the_same_key_is_not_meant() -> None:
    lost = Lost(StandIn())
    assert lost.find(known=(lost.serial,)) == Absent()
    again = now(lost.dogtag.authority().enroll(EnrollmentRequest(lost.csr, None, "test")))
    assert lost.find(known=(lost.serial,)) == again


def test_every_page_of_a_search_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PAGE", 2)
    dogtag = StandIn()
    for _ in range(4):
        Lost(dogtag)
    lost = Lost(dogtag)
    assert lost.find() == lost.outcome
    assert sum("search?start=" in path for _, path in dogtag.calls) == 3


def test_there_is_an_end_to_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PAGE", 2)
    monkeypatch.setattr(lookup, "PAGES", 2)
    dogtag = StandIn()
    for _ in range(4):
        Lost(dogtag, subject="CN=other")
    lost = Lost(dogtag)
    assert lost.find() == lost.outcome  # by name
    assert lost.find(subject="CN=rewritten") == Absent()  # as documented


def test_no_certificate_is_read_twice_and_none_that_was_issued_through_kipuka() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    Lost(dogtag, subject="CN=somebody's")
    now(authority.enroll(EnrollmentRequest(pki.csr(pki.ec_key(), "CN=kipuka's"), None, "test")))
    lost = Lost(dogtag, MANUAL)
    for _ in range(3):
        assert isinstance(lost.find(authority), Pending)
    assert len(fetches(dogtag)) == 1


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_REMEMBERED", 2)
    dogtag = StandIn()
    authority = dogtag.authority()
    for _ in range(5):
        Lost(dogtag, subject="CN=other")
    lost = Lost(dogtag)
    assert lost.find(authority) == lost.outcome
    assert lost.find(authority, known=(lost.serial,)) == Absent()
    assert len(authority._lookup._certificates) == 2


def encoded(dogtag: StandIn, serial: str, version: int) -> None:
    """Have a certificate shown with another version of X.509 than 3."""
    shown = dogtag._record

    def record(certificate: x509.Certificate) -> dict[str, Any]:
        answer = shown(certificate)
        return answer | {"Encoded": of_version(certificate, version)} if answer["id"] == serial else answer

    dogtag._record = record  # type: ignore[method-assign]


def of_version(certificate: x509.Certificate, version: int) -> str:
    """The PEM of a certificate with another version, which cryptography takes for none."""
    der = certificate.public_bytes(Encoding.DER).replace(
        b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + bytes([version])
    )
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


def test_others_certificates_that_cannot_be_loaded_stand_in_nobodys_way() -> None:
    dogtag = StandIn()
    other = Lost(dogtag)
    encoded(dogtag, other.serial, 9)
    lost = Lost(dogtag)
    authority = dogtag.authority()
    assert lost.find(authority) == lost.outcome
    assert lost.find(authority, known=(lost.serial,)) == Absent()
    assert len(fetches(dogtag)) == 2


def test_a_certificate_that_was_lost_and_cannot_be_loaded_is_not_absent() -> None:
    lost = Lost(StandIn())
    encoded(lost.dogtag, lost.serial, 9)
    authority = lost.dogtag.authority()
    for _ in range(2):
        with pytest.raises(AuthorityError) as caught:
            lost.find(authority)
        assert caught.value.kind is Kind.BAD_ANSWER


# --- requests


def test_a_pending_request_is_found() -> None:
    lost = Lost(StandIn(), MANUAL)
    assert lost.find() == lost.outcome


@pytest.mark.parametrize("state", ["approved", "svc_pending"])
def test_a_request_that_an_agent_approved_is_waited_for_as_if_pending(state: str) -> None:
    lost = Lost(StandIn(), MANUAL)
    lost.stands(state)
    assert lost.find() == lost.outcome


def test_a_request_of_another_enrollment_is_not_even_reviewed() -> None:
    lost = Lost(StandIn(), MANUAL)
    assert lost.find(known=(str(lost.number),)) == Absent()
    assert not reviews(lost.dogtag)


def test_others_requests_are_reviewed_once() -> None:
    dogtag = StandIn()
    for _ in range(3):
        Lost(dogtag, MANUAL)
    lost = Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    for _ in range(3):
        assert lost.find(authority) == lost.outcome
        dogtag.clock.advance(60)
    assert len(reviews(dogtag)) == 4


def test_one_list_serves_the_look_ups_that_come_together_and_not_later_ones() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    several = [Lost(dogtag, MANUAL) for _ in range(3)]
    for lost in several:
        assert lost.find(authority) == lost.outcome
    assert sum(path.startswith(LISTS + "pending&") for _, path in dogtag.calls) == 1
    later = Lost(dogtag, MANUAL)
    dogtag.clock.advance(2)
    assert later.find(authority) == later.outcome


def test_a_request_left_in_begin_is_told_apart() -> None:
    lost = Lost(StandIn(), MANUAL)
    lost.stands("begin")
    assert lost.find() == InProgress(str(lost.number))


def test_the_certificate_outweighs_a_request_left_in_begin_under_any_subject() -> None:
    lost = Lost(StandIn(), MANUAL)
    lost.dogtag.approve(lost.number)
    lost.stands("begin")
    for subject in (SUBJECT, "CN=another"):
        assert isinstance(lost.find(subject=subject), Issued)


def test_a_pending_request_outweighs_an_earlier_one_left_in_begin() -> None:
    lost = Lost(StandIn(), MANUAL)
    lost.stands("begin")
    again = now(lost.dogtag.authority().enroll(EnrollmentRequest(lost.csr, MANUAL, "test")))
    assert lost.find() == again


def test_an_approval_between_list_and_search_is_seen() -> None:
    lost = Lost(StandIn(), MANUAL)
    listed = answers.listed([lost.dogtag.requests[lost.number]])
    lost.dogtag.approve(lost.number)
    lost.dogtag.answer_next(listed, after=2)  # search by name, begin, pending
    assert isinstance(lost.find(subject="CN=another"), Issued)


def test_a_refusal_between_list_and_review_is_seen() -> None:
    lost = Lost(StandIn(), MANUAL)
    listed = answers.listed([lost.dogtag.requests[lost.number]])
    lost.dogtag.reject(lost.number, "unknown device")
    lost.dogtag.answer_next(listed, after=2)
    assert lost.find() == Refused("rejected: unknown device")


def test_complete_without_its_certificate_is_no_absence() -> None:
    lost = Lost(StandIn(), MANUAL)
    listed = answers.listed([lost.dogtag.requests[lost.number]])
    lost.stands("complete")
    lost.dogtag.answer_next(listed, after=2)
    assert lost.find() == InProgress(str(lost.number))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MIIB",
        "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----",
        "äöü",
        "%",
        "MIIBAAAA",
    ],
)
def test_others_requests_may_hold_anything(text: str) -> None:
    lost = Lost(StandIn(), MANUAL)
    other = Lost(lost.dogtag, MANUAL)
    review = answers.review(other.dogtag.requests[other.number], other.csr, None)
    review["Input"][0]["Attribute"][1]["Value"] = text
    lost.dogtag.answer_next(answers.success(review), after=REVIEWS)  # the newest is reviewed first
    assert lost.find() == lost.outcome


@pytest.mark.parametrize("missing", [None, []])
def test_others_requests_may_have_no_form(missing: object) -> None:
    lost = Lost(StandIn(), MANUAL)
    other = Lost(lost.dogtag, MANUAL)
    review = answers.review(other.dogtag.requests[other.number], other.csr, None) | {"Input": missing}
    lost.dogtag.answer_next(answers.success(review), after=REVIEWS)
    assert lost.find() == lost.outcome


def test_a_request_whose_profile_was_deleted_stands_in_nobodys_way() -> None:
    lost = Lost(StandIn(), MANUAL)
    Lost(lost.dogtag, MANUAL)
    lost.dogtag.answer_next(DELETED[1].answer, after=REVIEWS)
    assert lost.find() == lost.outcome
    assert len(reviews(lost.dogtag)) == 2


# --- trouble


FAILURES = {
    "401, as with LDAP down": LDAP_DOWN[0].answer,
    "404 in JSON, as with LDAP down": LDAP_DOWN[2].answer,
    "500 in JSON, as with LDAP down": LDAP_DOWN[3].answer,
    "not deployed": HTML_404,
    "403": answers.error(403, "base.ForbiddenException", "Authorization Error"),
    "503": Answer(503, "text/html", b"not ready"),
    "nonsense": Answer(200, "application/json", b"[]"),
    "no entries": Answer(200, "application/json", b"{}"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_of_any_call_reads_as_absence(name: str) -> None:
    def site() -> Lost:
        dogtag = StandIn()
        Lost(dogtag, subject="CN=other")
        Lost(dogtag, MANUAL, "CN=other")
        return Lost(dogtag, MANUAL, "CN=left in begin")

    whole = site()
    whole.find(known=(str(whole.number),))
    calls = len(whole.dogtag.calls)
    assert calls >= 9
    for position in range(calls):
        lost = site()
        lost.dogtag.answer_next(FAILURES[name], after=position)
        with pytest.raises(AuthorityError):
            lost.find(known=(str(lost.number),))


def test_with_ldap_down_nothing_is_absent() -> None:
    lost = Lost(StandIn(), MANUAL)
    lost.dogtag.ldap_down = True
    with pytest.raises(AuthorityError):
        lost.find()


def test_a_request_that_cannot_be_reviewed_is_tried_again() -> None:
    lost = Lost(StandIn(), MANUAL)
    authority = lost.dogtag.authority()
    lost.dogtag.answer_next(DELETED[1].answer, after=REVIEWS)
    assert lost.find(authority) == Absent()
    assert lost.find(authority) == lost.outcome


def test_a_list_that_failed_is_not_kept() -> None:
    lost = Lost(StandIn(), MANUAL)
    authority = lost.dogtag.authority()
    lost.dogtag.answer_next(LDAP_DOWN[0].answer, after=2)
    with pytest.raises(AuthorityError):
        lost.find(authority)
    assert lost.find(authority) == lost.outcome
