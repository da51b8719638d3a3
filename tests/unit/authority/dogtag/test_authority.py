"""kipuka.authority.dogtag.DogtagAuthority over the stand-in: what it asks, and what it keeps."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import CertificateStatus, ChangesNames, EnrollmentRequest, KnowsStatus, Names, Pending
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag.answers import NO_ROUTE
from tests.support.dogtag.standin import StandIn, now
from tests.unit.authority.dogtag.enrolling import CHAIN, ERROR_500, SUBMIT, fails, issued, request


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


def test_a_pending_request_is_looked_up_once() -> None:
    dogtag = StandIn()
    outcome = now(dogtag.authority().enroll(request(profile="kipukaServerManual")))
    assert isinstance(outcome, Pending)
    assert dogtag.calls[1:] == [SUBMIT, ("GET", f"/ca/rest/certrequests/{outcome.request_id}")]


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


@pytest.mark.parametrize("answer", [NO_ROUTE, Answer(404, "application/json", b'{"Cl')], ids=["gateway", "cut off"])
def test_rev_what_only_looks_like_unknown_is_trouble(answer: Answer) -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    certificate = issued(authority)
    dogtag.answer_next(answer)
    with pytest.raises(AuthorityError) as caught:
        now(authority.status(certificate))
    assert caught.value.kind is Kind.BAD_ANSWER


def test_a_caller_cannot_put_lines_into_the_requestors_name() -> None:
    dogtag = StandIn()
    issued(dogtag.authority(), EnrollmentRequest(pki.csr(pki.ec_key(), "CN=d"), None, "user:a\r\nb" + "x" * 500))
    values = {each["name"]: each["Value"] for group in dogtag.bodies[0]["Input"] for each in group["Attribute"]}
    assert values["requestor_name"].startswith("user:a b")
    assert len(values["requestor_name"]) == 200
