"""kipuka.authority.dogtag.DogtagAuthority over the stand-in: what trouble with an enrollment becomes."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import EnrollmentRequest
from kipuka.errors import Kind
from tests.support import pki
from tests.support.dogtag.profiles import Profile
from tests.support.dogtag.standin import HTML_404, StandIn, now
from tests.unit.authority.dogtag.enrolling import ERROR_500, SUBMIT, fails, issued, request


def test_enr_03_a_certificate_for_another_key_is_no_answer_to_this_request() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    other = issued(authority)
    record = Answer(200, "application/json", b"")
    dogtag.issued[999] = other
    submitted = (
        b'{"entries":[{"requestStatus":"complete","certId":"0x3e7","requestURL":"/1","operationResult":"success"}]}'
    )
    dogtag.answer_next(Answer(200, record.content_type, submitted))
    error = fails(authority)
    assert error.kind is Kind.BAD_ANSWER
    assert "0x3e7" in error.cause


@pytest.mark.parametrize("fault", [HTML_404, ERROR_500, Answer(503, "text/html", b""), Answer(200, "text/html", b"?")])
def test_trouble_after_the_submission_never_says_that_nothing_was_sent(fault: Answer) -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    dogtag.answer_next(fault, after=1)
    if fault is HTML_404:
        dogtag.answer_next(fault)  # the second candidate path says the same
    error = fails(authority)
    assert error.kind in (Kind.NO_ANSWER, Kind.BAD_ANSWER)
    assert len(dogtag.issued) == 3  # the CA's own, the first, and the one nobody got


def test_an_answer_lost_after_the_ca_issued_is_no_answer_and_not_asked_for_again() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    dogtag.lose_next()
    assert fails(authority).kind is Kind.NO_ANSWER
    assert dogtag.calls.count(SUBMIT) == 2


def test_no_answer_within_the_timeout() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    dogtag.hang_next()
    results: list[object] = []
    Deferred.fromCoroutine(authority.enroll(request())).addErrback(lambda failure: results.append(failure.value))
    dogtag.clock.advance(29.9)
    assert results == []
    dogtag.clock.advance(0.2)
    assert [error.kind for error in results] == [Kind.NO_ANSWER]  # type: ignore[attr-defined]


def test_a_ca_that_is_not_deployed_is_unreachable() -> None:
    dogtag = StandIn(prefixes=())
    assert fails(dogtag.authority()).kind is Kind.UNREACHABLE


def test_the_template_is_fetched_again_after_a_failure_that_may_be_its_fault() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    dogtag.profiles["kipukaServer"] = Profile(agent=True, inputs=(("cert_request_type", "cert_request"), ("new",)))
    dogtag.answer_next(Answer(400, "application/json", b'{"Message":"missing input"}'))
    assert fails(authority).kind is Kind.INVALID
    issued(authority)
    assert [each["Attribute"][0]["name"] for each in dogtag.bodies[-1]["Input"]] == ["cert_request_type", "new"]


def test_without_the_form_nothing_was_submitted_whatever_the_reason() -> None:
    dogtag = StandIn()
    for fault in (ERROR_500, Answer(200, "application/json", b"{")):
        dogtag.answer_next(fault)
        assert fails(dogtag.authority()).kind is Kind.UNREACHABLE
    assert SUBMIT not in dogtag.calls


def test_a_request_whose_time_is_over_is_not_submitted() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    assert fails(authority, request(send_before=-1.0)).kind is Kind.UNREACHABLE
    assert not dogtag.requests


def test_the_template_is_kept_after_a_refusal() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    short = pki.csr(pki.rsa_key(1024), "CN=short")
    for _ in range(2):
        assert fails(authority, EnrollmentRequest(short, None, "x")).kind is Kind.REFUSED
    assert len(dogtag.calls) == 3


def test_ldap_down_is_told_apart_from_a_refusal() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    dogtag.ldap_down = True
    error = fails(authority)
    assert error.kind is Kind.MISCONFIGURED
    assert "LDAP" in error.cause
    dogtag.ldap_down = False
    issued(authority)


def test_a_pending_request_that_the_ca_never_stored_is_no_waiting() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.enroll(request(profile="kipukaServerManual")))
    dogtag.ldap_down = True
    error = fails(authority, request(profile="kipukaServerManual"))
    assert error.kind is Kind.NO_ANSWER
    assert "not to be found" in error.cause


def test_another_request_in_place_of_the_pending_one_is_a_bad_answer() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    other = Answer(200, "application/json", b'{"requestStatus":"pending","requestURL":"https://x/424242"}')
    dogtag.answer_next(other, after=2)
    assert fails(authority, request(profile="kipukaServerManual")).kind is Kind.BAD_ANSWER
