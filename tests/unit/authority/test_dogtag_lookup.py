"""Looking a lost request up at a Dogtag by its public key."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from kipuka.authority.dogtag import DogtagAuthority, lookup, wire
from kipuka.authority.dogtag.lookup import common_name
from kipuka.authority.dogtag.rest.paths import Operation
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
from tests.support import dogtag_answers as answers
from tests.support import pki, transcript
from tests.support.dogtag_standin import HTML_404, StandIn, now

MANUAL = "kipukaServerManual"
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
    monkeypatch.setattr(lookup, "_REMEMBERED", 2)
    dogtag = StandIn()
    authority = dogtag.authority()
    for _ in range(5):
        Lost(dogtag, subject="CN=other")
    lost = Lost(dogtag)
    assert lost.find(authority) == lost.outcome
    assert lost.find(authority, known=(lost.serial,)) == Absent()
    assert len(authority._lookup._certificates) == 2


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
    lost.dogtag.answer_next(answers.success(review), after=3)  # the newest is reviewed first
    assert lost.find() == lost.outcome


@pytest.mark.parametrize("missing", [None, []])
def test_others_requests_may_have_no_form(missing: object) -> None:
    lost = Lost(StandIn(), MANUAL)
    other = Lost(lost.dogtag, MANUAL)
    review = answers.review(other.dogtag.requests[other.number], other.csr, None) | {"Input": missing}
    lost.dogtag.answer_next(answers.success(review), after=3)
    assert lost.find() == lost.outcome


def test_a_request_whose_profile_was_deleted_stands_in_nobodys_way() -> None:
    lost = Lost(StandIn(), MANUAL)
    Lost(lost.dogtag, MANUAL)
    lost.dogtag.answer_next(DELETED[1].answer, after=3)
    assert lost.find() == lost.outcome
    assert len(reviews(lost.dogtag)) == 2


# --- several at the same time


def result(looking: Deferred[Finding]) -> Finding:
    async def wait() -> Finding:
        return await looking

    return now(wait())


class Slow:
    """Lets look-ups read through a stand-in that takes its time over some operation."""

    def __init__(self, dogtag: StandIn, operation: Operation) -> None:
        self.authority = dogtag.authority()
        self._call = self.authority._lookup._call
        self._operation = operation
        self.waiting: list[Deferred[None]] = []
        self.asked: list[str] = []
        self.authority._lookup._call = self

    async def __call__(self, operation: Operation, value: str = "", body: bytes | None = None, **how: Any) -> Answer:
        if operation is self._operation:
            self.asked.append(value)
            self.waiting.append(Deferred())
            await self.waiting[-1]
        return await self._call(operation, value, body, **how)

    def go_on(self) -> int:
        """Answer what is waiting, again and again; return how many were waiting at the same time at most."""
        most = 0
        while self.waiting:
            most = max(most, len(self.waiting))
            waiting, self.waiting = self.waiting, []
            for each in waiting:
                each.callback(None)
        return most

    def find(self, *several: Lost) -> list[Finding]:
        """Look for all at the same time."""
        self.looking = [
            Deferred.fromCoroutine(self.authority.find(key(lost.csr), SUBJECT, lost.since, frozenset()))
            for lost in several
        ]
        self.most = self.go_on()
        return [result(each) for each in self.looking]


def test_several_requests_are_read_at_the_same_time_and_each_by_one_look_up_only() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(9)]
    slow = Slow(dogtag, Operation.REVIEW)
    assert slow.find(*several) == [lost.outcome for lost in several]
    assert slow.most == 4
    assert sorted(slow.asked) == sorted(str(lost.number) for lost in several)


def test_several_certificates_are_read_at_the_same_time_and_each_by_one_look_up_only() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag) for _ in range(9)]
    slow = Slow(dogtag, Operation.CERTIFICATE)
    assert slow.find(*several) == [lost.outcome for lost in several]
    assert slow.most <= 4 + len(several)  # one's reading, and the others fetching what they have found
    assert {slow.asked.count(lost.serial) for lost in several} <= {1, 2}


def test_an_older_request_with_a_higher_number_does_not_hide_a_newer_one() -> None:
    """A clone's numbers are all higher than the other's, whenever they were given."""
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    dogtag._numbers = itertools.count(9_990_001)
    for _ in range(3):
        Lost(dogtag, MANUAL)
    assert lost.find() == lost.outcome


def test_nothing_more_is_read_from_a_ca_that_fails() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(9)]
    slow = Slow(dogtag, Operation.REVIEW)
    looking = Deferred.fromCoroutine(slow.authority.find(key(several[0].csr), SUBJECT, several[0].since, frozenset()))
    dogtag.ldap_down = True
    slow.go_on()
    with pytest.raises(AuthorityError):
        result(looking)
    assert len(slow.asked) == 4


def test_one_search_under_any_name_serves_the_look_ups_that_come_together() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(5)]
    since = several[0].since
    authority = dogtag.authority()
    for _ in range(2):
        for lost in several:
            assert lost.find(authority, since=since, subject="O=without") == lost.outcome
    assert sum("search" in path for _, path in dogtag.calls) == 1
    dogtag.clock.advance(2)
    assert several[0].find(authority, since=since, subject="O=without") == several[0].outcome
    assert sum("search" in path for _, path in dogtag.calls) == 2


def test_a_search_from_before_the_list_of_requests_is_not_used() -> None:
    """Or what left the list meanwhile, because it was issued, would be in neither."""
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    other = Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    assert other.find(authority, since=lost.since) == other.outcome
    dogtag.approve(lost.number)
    authority._lookup._lists.pop("pending")  # it was the first to grow old
    assert isinstance(lost.find(authority, subject="CN=another"), Issued)


def test_a_search_during_which_a_list_was_made_is_not_kept() -> None:
    dogtag = StandIn()
    lost, other = Lost(dogtag, MANUAL), Lost(dogtag, MANUAL, "CN=other")
    slow = Slow(dogtag, Operation.SEARCH)
    looking = Deferred.fromCoroutine(slow.authority.find(key(other.csr), "O=without", lost.since, frozenset()))
    (searching,) = slow.waiting
    slow.authority._lookup._lists["pending"] = (float("-inf"), ())
    now(slow.authority._lookup._listed("pending", 0))
    searching.callback(None)
    assert result(looking) == other.outcome
    assert slow.authority._lookup._searches == {}


def test_certificates_that_are_known_to_be_others_are_not_read() -> None:
    dogtag = StandIn()
    others = [Lost(dogtag, subject="CN=somebody's") for _ in range(5)]
    lost = Lost(dogtag, MANUAL)
    assert lost.find(known=tuple(other.serial for other in others)) == lost.outcome
    assert fetches(dogtag) == []


# --- bounds


def test_more_than_can_be_read_in_one_go_is_read_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "READ_AT_ONCE", 3)
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)  # the oldest: its turn comes last
    for _ in range(7):
        Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    for _ in range(2):
        with pytest.raises(AuthorityError) as caught:
            lost.find(authority)
        assert caught.value.kind is Kind.BUSY
    assert lost.find(authority) == lost.outcome


def test_a_certificate_is_found_whatever_is_left_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "READ_AT_ONCE", 1)
    dogtag = StandIn()
    for _ in range(5):
        Lost(dogtag, MANUAL)
    lost = Lost(dogtag)
    assert lost.find() == lost.outcome


def test_more_open_requests_than_were_asked_for_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_FOREIGN", 2)
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    Lost(dogtag, MANUAL)
    with pytest.raises(AuthorityError) as caught:
        lost.find()
    assert caught.value.kind is Kind.BUSY
    assert lost.find(known=("1", "2")) == lost.outcome  # known ones are asked for in addition


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
    lost.dogtag.answer_next(DELETED[1].answer, after=3)
    assert lost.find(authority) == Absent()
    assert lost.find(authority) == lost.outcome


def test_a_list_that_failed_is_not_kept() -> None:
    lost = Lost(StandIn(), MANUAL)
    authority = lost.dogtag.authority()
    lost.dogtag.answer_next(LDAP_DOWN[0].answer, after=2)
    with pytest.raises(AuthorityError):
        lost.find(authority)
    assert lost.find(authority) == lost.outcome


# --- the wire


def test_requests_left_in_begin_as_recorded() -> None:
    listed, review = LDAP_DOWN[4].answer, LDAP_DOWN[6].answer
    assert 2702 in wire.listed(listed)
    seen = wire.review(review)
    assert (seen.status, seen.notes) == ("begin", "")
    fields = json.loads(review.body)["Input"][0]["Attribute"]
    csr = x509.load_pem_x509_csr(
        f"-----BEGIN CERTIFICATE REQUEST-----\n{fields[1]['Value']}\n-----END CERTIFICATE REQUEST-----\n".encode()
    )
    assert seen.public_key == key(csr)


def test_a_csr_is_read_as_pem_too() -> None:
    csr = pki.csr(pki.ec_key(), SUBJECT)
    review = answers.review(answers.request(7, "pending"), csr, None)
    value = review["Input"][0]["Attribute"][1]
    pem = f"-----BEGIN NEW CERTIFICATE REQUEST-----\r\n{value['Value'][:64]}\r\n{value['Value'][64:]}\r\n-----END-----"
    value["Value"] = pem
    assert wire.review(answers.success(review)).public_key == key(csr)


def test_searches_as_recorded() -> None:
    by_name, inclusive, later, page = SEARCHES
    both = wire.found(by_name.answer)
    assert len(both) == 2
    assert sorted(both) == list(both)
    assert wire.found(inclusive.answer)[-1] == both[-1]
    assert wire.found(later.answer) == ()
    assert wire.found(page.answer) == (both[1],)
    since = int(json.loads(inclusive.body)["issuedOnFrom"])
    assert json.loads(wire.search_body(since, "search \\ (1)*\u2603")) == json.loads(inclusive.body)


def test_an_empty_name_is_not_searched_for() -> None:
    """Dogtag would match it with every certificate."""
    assert "subjectInUse" not in json.loads(wire.search_body(0, ""))


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=device", "device"),
        ("O=x,CN=a\\, b\\+c", "a, b+c"),
        ("CN=\\ spaced \\ ", "spaced"),
        ("CN=one,CN=two", "two"),
        ("O=none", None),
        ("CN=\\ ", None),
        ("", None),
        ("<broken>", None),
    ],
)
def test_the_common_name_looked_for(subject: str, name: str | None) -> None:
    assert common_name(subject) == name


@given(st.text(min_size=1, max_size=64).filter(lambda text: text.strip()))
def test_any_common_name_survives_rfc_4514(text: str) -> None:
    try:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]).rfc4514_string()
    except ValueError:
        return
    assert common_name(subject) in (text.strip(), None)
