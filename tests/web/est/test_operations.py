"""What each operation takes and answers, with a CA that does as told."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyasn1.codec.der import decoder
from pyasn1_modules import rfc5652
from twisted.internet.defer import Deferred

from kipuka.authority.interface import EnrollmentRequest, Pending
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.web.device import Renewing, certificates, enroll, spki
from tests.web.fakes import RETRY_AFTER, World, basic, body
from tests.web.wire import EST, message


def test_cac_01_02_03_the_ca_certificates(world: World) -> None:
    answer = world.client().get(f"{EST}/cacerts")
    assert answer.status == 200
    assert certificates(answer) == [world.main.issuer.certificate]
    version_and_no_digests = bytes.fromhex("020101 3100 300b 06092a864886f70d010701".replace(" ", ""))
    assert version_and_no_digests in base64.b64decode(answer.body)


def test_cac_06_no_crls_and_no_signers(world: World) -> None:
    der = base64.b64decode(world.client().get(f"{EST}/cacerts").body)
    content, _ = decoder.decode(der, asn1Spec=rfc5652.ContentInfo())
    signed, rest = decoder.decode(content["content"], asn1Spec=rfc5652.SignedData())
    assert not rest
    assert not signed["crls"].isValue
    assert signed["version"] == 1
    assert len(signed["digestAlgorithms"]) == len(signed["signerInfos"]) == 0
    assert not signed["encapContentInfo"]["eContent"].isValue


def test_cac_09_the_same_bytes_twice(world: World) -> None:
    client = world.client()
    assert client.get(f"{EST}/cacerts").body == client.get(f"{EST}/cacerts").body


def test_t1_t3_an_answer_is_written_at_once(world: World) -> None:
    client = world.client()
    client.get(f"{EST}/cacerts")
    # Header and body are one write each; TLS sends them in the same turn of the reactor.
    assert len(client.transport.writes) <= 2


def test_enr_02_03_04_only_the_issued_certificate(world: World, request_: x509.CertificateSigningRequest) -> None:
    (certificate,) = certificates(enroll(world.client(), request_))
    assert spki(certificate) == spki(request_)
    (asked,) = world.main.requests
    assert asked.csr.public_bytes(Encoding.DER) == request_.public_bytes(Encoding.DER)
    assert (asked.profile, asked.requestor, asked.renews) == (None, "user:alice", None)
    event, facts = world.audited[-1]
    assert event == "enrollment"
    assert facts["serial"] == f"0x{certificate.serial_number:x}"
    assert facts["caller"] == "user:alice"


def test_t11_no_answer_to_an_enrollment_has_two_certificates(world: World) -> None:
    client = world.client()
    for path in ("/simpleenroll", "/lab/simpleenroll", "/other/simpleenroll"):
        assert len(certificates(enroll(client, pki.csr(pki.ec_key(), "CN=a"), path))) == 1


def test_enr_03_a_certificate_for_another_key_is_not_passed_on(
    world: World, request_: x509.CertificateSigningRequest
) -> None:
    stranger = pki.csr(pki.ec_key(), "CN=device-1")
    world.main.outcome = lambda _: world.main.issue(EnrollmentRequest(stranger, None, ""))
    assert enroll(world.client(), request_).status == 503
    assert world.events[-1] is Event.LOST


def test_enr_01_a_request_signed_by_another_key_is_refused(world: World) -> None:
    der = bytearray(pki.csr(pki.rsa_key(), "CN=a").public_bytes(Encoding.DER))
    der[-1] ^= 1
    answer = world.client().post(f"{EST}/simpleenroll", base64.b64encode(der), authorization=basic())
    assert answer.status == 400
    assert "signature" in answer.text
    assert not world.main.requests


def test_enr_07_t17_more_certificates_for_the_holder_of_one(world: World) -> None:
    device = world.device()
    client = world.client(device.certificate)
    for key in (pki.ec_key(), pki.rsa_key()):
        answer = client.post(f"{EST}/simpleenroll", body(pki.csr(key, "CN=device-1")))
        assert certificates(answer)
    assert [request.requestor for request in world.main.requests] == ["certificate:CN=device-1"] * 2


def test_enr_09_csa_12_weak_keys_are_refused_by_name(world: World) -> None:
    answer = enroll(world.client(), pki.csr(pki.rsa_key(1024), "CN=a"))
    assert answer.status == 403
    assert "1024" in answer.text
    answer = enroll(world.client(), pki.csr(pki.ec_key(), "CN=a"), "/p384/simpleenroll")
    assert answer.status == 403
    assert "ec-p384" in answer.text
    assert not world.main.requests


def test_enr_08_a_key_that_will_not_sign_may_sign_its_own_request(world: World) -> None:
    usage = pki._key_usage(digital_signature=False)
    only_encipherment = x509.KeyUsage(
        **{name.lstrip("_"): value for name, value in vars(usage).items()} | {"key_encipherment": True}
    )
    csr = pki.csr(pki.rsa_key(), "CN=a", extensions=[(only_encipherment, True)])
    assert enroll(world.client(), csr).status == 200


def test_auth_12_checks_of_the_label_refuse_with_403(world: World) -> None:
    client = world.client()
    for csr in (pki.csr(pki.ec_key(), "CN=bob", pki.san("a.example")), pki.csr(pki.ec_key(), "CN=alice")):
        assert enroll(client, csr, "/named/simpleenroll").status == 403
    assert enroll(client, pki.csr(pki.ec_key(), "CN=alice", pki.san("a.example")), "/named/simpleenroll").status == 200


def test_a_label_sends_its_profile(world: World, request_: x509.CertificateSigningRequest) -> None:
    certificates(enroll(world.client(), request_, "/other/simpleenroll"))
    assert world.other.requests[0].profile == "caOther"


def test_csa_01_03_05_what_the_label_demands(world: World) -> None:
    answer = world.client().get(f"{EST}/p384/csrattrs")
    assert base64.b64decode(answer.body) == bytes.fromhex("3014301206072a8648ce3d0201310706052b81040022")


def test_csa_02_nothing_to_say(world: World) -> None:
    answer = world.client().get(f"{EST}/csrattrs")
    assert (answer.status, answer.body) == (204, b"")


def test_csa_04_linking_is_announced(world: World) -> None:
    answer = world.client().get(f"{EST}/linked/csrattrs", accept="*/*")
    assert answer.body == b"MAsGCSqGSIb3DQEJBw==\n"


def test_uri_03_what_is_not_offered_says_so(world: World) -> None:
    client = world.client()
    answers = [
        client.get(f"{EST}/bare/csrattrs"),
        client.post(f"{EST}/fullcmc", b"MAA="),
        client.post(f"{EST}/serverkeygen", b"MAA="),
    ]
    assert [answer.status for answer in answers] == [501] * 3
    assert all("not" in answer.text for answer in answers)


def test_wait_01_08_t8_a_pending_request(world: World, request_: x509.CertificateSigningRequest) -> None:
    world.main.outcome = lambda _: Pending("4711")
    answer = enroll(world.client(), request_)
    assert answer.status == 202
    assert answer.field("Retry-After") == str(RETRY_AFTER)
    assert "approval" in answer.text
    assert "4711" not in answer.text
    assert world.audited[-1][1]["request"] == "4711"


@pytest.mark.parametrize("clean", [True, False])
def test_a_client_that_goes_away_does_not_cancel_the_ca_call(
    world: World, request_: x509.CertificateSigningRequest, clean: bool
) -> None:
    cancelled: list[object] = []
    world.main.waits_for = Deferred(cancelled.append)
    client = world.client()
    client.send(_message(request_))
    assert client.answers() == []
    client.hang_up(clean=clean)
    assert not cancelled
    world.main.waits_for.callback(None)
    assert world.audited[-1][0] == "client gone"
    assert world.events == [Event.TAKEN, Event.GRANTED]
    assert client.answers() == []
    world.main.waits_for = None
    assert enroll(world.client(), request_).status == 200
    assert len(world.main.requests) == 1


def test_a_client_that_goes_away_before_the_ca_fails(world: World, request_: x509.CertificateSigningRequest) -> None:
    world.main.waits_for = Deferred()
    client = world.client()
    client.send(_message(request_))
    client.hang_up()
    world.main.waits_for.errback(AuthorityError(Kind.UNREACHABLE, "The CA is away."))
    assert world.audited[-1][0] == "client gone"
    assert world.events == [Event.TAKEN, Event.NOT_SENT]


def _message(csr: x509.CertificateSigningRequest) -> bytes:
    return message("POST", f"{EST}/simpleenroll", body(csr), content_type="application/pkcs10", authorization=basic())


def test_enc_19_several_operations_on_one_connection(world: World) -> None:
    device = Renewing(world)
    client = world.client(device.identity.certificate)
    csr = pki.csr(device.key, device.subject)
    statuses = [
        client.get(f"{EST}/cacerts").status,
        client.get(f"{EST}/csrattrs").status,
        client.post(f"{EST}/simpleenroll", body(csr)).status,
        client.post(f"{EST}/simplereenroll", body(csr)).status,
        client.post(f"{EST}/simpleenroll", b"broken").status,
        client.get(f"{EST}/cacerts").status,
    ]
    assert statuses == [200, 204, 200, 200, 400, 200]
    assert not client.closed


@pytest.mark.parametrize("operation", ["simpleenroll", "simplereenroll", "named/simpleenroll", "other/simplereenroll"])
def test_err_04_a_client_certificate_whose_names_cannot_be_read(
    world: World, request_: x509.CertificateSigningRequest, operation: str
) -> None:
    """OpenSSL takes T61Strings in Latin-1, cryptography does not."""
    der = world.device("CN=AAAAAAAA").certificate.public_bytes(Encoding.DER)
    patched = der.replace(b"\x0c\x08AAAAAAAA", b"\x14\x08" + b"\xe9" * 8)
    assert patched != der
    client = world.client(x509.load_der_x509_certificate(patched))
    answer = client.post(f"{EST}/{operation}", body(request_))
    assert answer.status == 403
    assert "certificate" in answer.text
    assert not world.main.requests
    assert client.get(f"{EST}/cacerts").status == 200
