"""Looking a lost request up at a Dogtag by its public key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kipuka.authority.dogtag import lookup, reading
from kipuka.authority.interface import Absent, EnrollmentRequest, FindsRequests, InProgress, Issued, Pending, Refused
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag.standin import StandIn, now
from tests.unit.authority.dogtag.lookup.lost import (
    DELETED,
    LISTS,
    MANUAL,
    REVIEWS,
    SUBJECT,
    Lost,
    encoded,
    fetches,
    reviews,
)


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
