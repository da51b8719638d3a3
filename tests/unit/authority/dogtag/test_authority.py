"""kipuka.authority.dogtag.DogtagAuthority over the stand-in: what it asks, what it keeps, what trouble becomes."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import (
    CertificateStatus,
    ChangesNames,
    EnrollmentRequest,
    Issued,
    KnowsStatus,
    Names,
    Pending,
    Probed,
)
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag.standin import HTML_404, Profile, StandIn, now

SUBMIT, CHAIN = ("POST", "/ca/rest/certrequests"), ("GET", "/ca/rest/config/cert/signing")
ERROR_500 = Answer(500, "application/json", b'{"Message":"Failed to connect LDAP server"}')


def request(subject: str = "CN=device", profile: str | None = None, **more: object) -> EnrollmentRequest:
    return EnrollmentRequest(pki.csr(pki.ec_key(), subject), profile, "user:alice", **more)  # type: ignore[arg-type]


def fails(authority: DogtagAuthority, asked: EnrollmentRequest | None = None) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        now(authority.enroll(asked or request()))
    return caught.value


def issued(authority: DogtagAuthority, asked: EnrollmentRequest | None = None) -> x509.Certificate:
    outcome = now(authority.enroll(asked or request()))
    assert isinstance(outcome, Issued)
    return outcome.certificate


def test_an_enrollment_takes_two_calls_and_the_template_is_fetched_once() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    for _ in range(3):
        issued(authority)
    template = ("GET", "/ca/rest/certrequests/profiles/kipukaServer")
    assert dogtag.calls[0] == template
    assert len(dogtag.calls) == 1 + 3 * 2
    assert [method for method, _ in dogtag.calls[1:]] == ["POST", "GET"] * 3
    assert not any("login" in path for _, path in dogtag.calls)


def test_every_call_is_told_with_its_outcome() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    assert dogtag.observed == [("template", "2xx", 0), ("enroll", "2xx", 0), ("certificate", "2xx", 0)]
    del dogtag.observed[:]
    dogtag.lose_next()
    fails(authority)
    dogtag.answer_next(ERROR_500)
    fails(authority)
    assert dogtag.observed == [("enroll", "no_answer", 0), ("enroll", "5xx", 0)]


def test_a_call_takes_the_time_until_its_end() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    dogtag.hang_next()
    waiting = Deferred.fromCoroutine(authority.enroll(request()))
    failed: list[Failure] = []
    waiting.addErrback(failed.append)
    dogtag.clock.advance(30)
    assert len(failed) == 1
    assert dogtag.observed[-1] == ("enroll", "no_answer", 30)


def test_enr_04_the_csr_reaches_the_ca_byte_for_byte() -> None:
    dogtag = StandIn()
    asked = request()
    issued(dogtag.authority(), asked)
    values = {each["name"]: each["Value"] for group in dogtag.bodies[0]["Input"] for each in group["Attribute"]}
    assert base64.b64decode(values["cert_request"]) == asked.csr.public_bytes(Encoding.DER)
    assert values["requestor_name"] == "user:alice"


def test_the_requests_profile_goes_before_the_cas() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    issued(authority)
    issued(authority, request(profile="caAgentServerCert"))
    assert [body["ProfileID"] for body in dogtag.bodies] == ["kipukaServer", "caAgentServerCert"]


def test_ren_04_a_renewal_is_an_enrollment_under_the_labels_profile_with_either_key() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    key = pki.ec_key()
    old = issued(authority, EnrollmentRequest(pki.csr(key, "CN=device"), "caAgentServerCert", "x"))
    for csr in (pki.csr(key, "CN=device"), pki.csr(pki.ec_key(), "CN=device")):
        new = issued(authority, EnrollmentRequest(csr, None, "x", renews=old))
        assert new.public_key() == csr.public_key()
        assert dogtag.bodies[-1]["ProfileID"] == "kipukaServer"
        assert dogtag.bodies[-1]["Renewal"] is False
        assert "SerialNumber" not in dogtag.bodies[-1]


def test_other_names_than_the_csrs_are_refused_before_anything_is_sent() -> None:
    dogtag = StandIn()
    error = fails(dogtag.authority(), request(names=Names(pki.name("CN=other"), None)))
    assert error.kind is Kind.REFUSED
    assert dogtag.calls == []


def test_capabilities() -> None:
    authority = StandIn().authority()
    assert isinstance(authority, KnowsStatus)
    assert not isinstance(authority, ChangesNames)


def test_a_request_too_large_for_dogtag_is_refused_before_it_is_sent() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    names = pki.san(*(f"host-{number}.example" for number in range(800)))
    error = fails(authority, EnrollmentRequest(pki.csr(pki.ec_key(), "CN=many", names), None, "x"))
    assert error.kind is Kind.TOO_LARGE
    assert SUBMIT not in dogtag.calls
    fewer = pki.san(*(f"host-{number}.example" for number in range(600)))
    issued(authority, EnrollmentRequest(pki.csr(pki.ec_key(), "CN=many", fewer), None, "x"))


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
    from twisted.internet.defer import Deferred

    dogtag.hang_next()
    results: list[object] = []
    Deferred.fromCoroutine(authority.enroll(request())).addErrback(lambda failure: results.append(failure.value))
    dogtag.clock.advance(29.9)
    assert results == []
    dogtag.clock.advance(0.2)
    assert [error.kind for error in results] == [Kind.NO_ANSWER]  # type: ignore[attr-defined]


def test_the_newer_prefix_is_found_and_remembered() -> None:
    dogtag = StandIn(prefixes=("/ca/v1",))
    authority = dogtag.authority()
    issued(authority)
    assert [path for _, path in dogtag.calls if path.endswith("/certrequests")] == [
        "/ca/rest/certrequests",
        "/ca/v1/certrequests",
    ]
    before = len(dogtag.calls)
    issued(authority)
    assert [path.split("/")[2] for _, path in dogtag.calls[before:]] == ["v1", "v1"]


@pytest.mark.parametrize("status", [400, 401, 403, 409, 500, 502, 503])
def test_a_post_goes_to_another_path_only_after_404_and_405(status: int) -> None:
    dogtag = StandIn(prefixes=("/ca/rest", "/ca/v1"))
    authority = dogtag.authority()
    issued(authority)
    before = len(dogtag.calls)
    dogtag.answer_next(Answer(status, "text/html", b"<title>trouble</title>"))
    fails(authority)
    assert dogtag.calls[before:] == [SUBMIT]


def test_a_path_of_the_configuration_is_the_only_one_tried() -> None:
    dogtag = StandIn(prefixes=("/pki/ca/rest",))
    authority = dogtag.authority(
        paths={
            "enroll": "/pki/ca/rest/certrequests",
            "template": "/pki/ca/rest/certrequests/profiles/{profile}",
            "certificate": "/pki/ca/rest/certs/{id}",
        }
    )
    issued(authority)
    assert all(path.startswith("/pki/ca/rest/") for _, path in dogtag.calls)


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


def test_a_pending_request_is_looked_up_once() -> None:
    dogtag = StandIn()
    outcome = now(dogtag.authority().enroll(request(profile="kipukaServerManual")))
    assert isinstance(outcome, Pending)
    assert dogtag.calls[1:] == [SUBMIT, ("GET", f"/ca/rest/certrequests/{outcome.request_id}")]


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


def test_the_chain_is_kept_for_its_time_and_served_old_while_the_ca_is_away() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    chain = now(authority.chain())
    assert chain == (dogtag.issuer.certificate,)
    now(authority.chain())
    assert dogtag.calls == [CHAIN]
    dogtag.clock.advance(3601)
    dogtag.answer_next(ERROR_500)
    assert now(authority.chain()) == chain
    dogtag.clock.advance(11)
    now(authority.chain())
    assert dogtag.calls == [CHAIN] * 3


def test_without_any_chain_the_trouble_is_told() -> None:
    dogtag = StandIn()
    dogtag.answer_next(ERROR_500)
    with pytest.raises(AuthorityError) as caught:
        now(dogtag.authority().chain())
    assert caught.value.kind is Kind.BAD_ANSWER
    assert "LDAP" in caught.value.cause


def test_rev_status_good_revoked_unknown_and_no_word_while_ldap_is_down() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    certificate = issued(authority)
    assert now(authority.status(certificate)) is CertificateStatus.GOOD
    dogtag.revoked.add(certificate.serial_number)
    assert now(authority.status(certificate)) is CertificateStatus.REVOKED
    assert now(authority.status(pki.root().certificate)) is CertificateStatus.UNKNOWN
    dogtag.ldap_down = True
    with pytest.raises(AuthorityError):
        now(authority.status(certificate))


def probe_fails(authority: DogtagAuthority) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        now(authority.probe())
    return caught.value


def test_a_probe_asks_the_directory_for_the_cas_own_certificate() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    own = ("GET", f"/ca/rest/certs/{dogtag.issuer.certificate.serial_number:#x}")
    assert isinstance(authority, Probed)
    now(authority.probe())
    now(authority.probe())
    assert dogtag.calls == [CHAIN, own, own]


def test_a_ca_that_only_says_it_is_running_is_not_well() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.probe())
    dogtag.ldap_down = True
    error = probe_fails(authority)
    assert error.kind is Kind.BAD_ANSWER
    assert "LDAP" in error.cause
    dogtag.ldap_down = False
    now(authority.probe())


def test_a_ca_without_a_record_of_its_own_certificate_is_well() -> None:
    dogtag = StandIn()
    dogtag.issued.clear()
    now(dogtag.authority().probe())


def test_anybody_elses_404_is_no_sign_of_life() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.probe())
    dogtag.answer_next(Answer(404, "application/json", b'{"error":"not_found"}'))
    assert probe_fails(authority).kind is Kind.BAD_ANSWER
    dogtag.prefixes = ()
    assert probe_fails(authority).kind is Kind.UNREACHABLE


def test_a_probe_goes_where_the_configuration_says() -> None:
    dogtag = StandIn()
    authority = dogtag.authority(paths={"probe": "/ca/rest/certs/0x1"})
    now(authority.probe())
    assert dogtag.calls[-1] == ("GET", "/ca/rest/certs/0x1")


def test_a_probe_does_not_wait_behind_stalled_requests() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.probe())
    for _ in range(8):  # as many as there are connections
        dogtag.hang_next()
        Deferred.fromCoroutine(authority.status(dogtag.issuer.certificate)).addErrback(lambda _: None)
    with pytest.raises(AssertionError, match="still waiting"):
        now(authority.status(dogtag.issuer.certificate))
    now(authority.probe())


def test_a_caller_cannot_put_lines_into_the_requestors_name() -> None:
    dogtag = StandIn()
    issued(dogtag.authority(), EnrollmentRequest(pki.csr(pki.ec_key(), "CN=d"), None, "user:a\r\nb" + "x" * 500))
    values = {each["name"]: each["Value"] for group in dogtag.bodies[0]["Input"] for each in group["Attribute"]}
    assert values["requestor_name"].startswith("user:a b")
    assert len(values["requestor_name"]) == 200
