"""/simplereenroll: whose certificate is renewed, under which names."""

from __future__ import annotations

import pytest
from cryptography import x509

from kipuka.authority.interface import CertificateStatus
from tests.support import pki
from tests.web.device import Renewing, certificates, enroll, spki
from tests.web.fakes import World, body
from tests.web.wire import EST


def test_ren_01_04_same_names_same_key_and_new_key(world: World) -> None:
    device = Renewing(world, "CN=device-1,O=Example", "a.example")
    for key in (device.key, pki.ec_key(), pki.rsa_key()):
        csr = pki.csr(key, device.subject, device.alternative)
        (certificate,) = certificates(device.ask(csr))
        assert spki(certificate) == spki(csr)
    assert [each.renews for each in world.main.requests] == [device.identity.certificate] * 3


@pytest.mark.parametrize("subject", ["CN=device-1", "O=Example,CN=device-1", "CN=Device-1,O=Example", ""])
def test_ren_01_another_subject_is_refused(world: World, subject: str) -> None:
    answer = Renewing(world).ask(pki.csr(pki.ec_key(), subject))
    assert answer.status == 403
    assert "subject" in answer.text
    assert not world.main.requests


def test_ren_01_another_string_type_is_refused(world: World) -> None:
    same_text = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "device-1", x509.name._ASN1Type.PrintableString)]
    )
    answer = Renewing(world, "CN=device-1").ask(pki.csr(pki.ec_key(), same_text))
    assert answer.status == 403
    assert "string types" in answer.text


@pytest.mark.parametrize(
    ("held", "asked"), [((), ("a.example",)), (("a.example",), ()), (("a.example",), ("a.example", "b.example"))]
)
def test_ren_02_another_subject_alt_name_is_refused(
    world: World, held: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    device = Renewing(world, "CN=device-1", *held)
    answer = device.ask(pki.csr(device.key, device.subject, pki.san(*asked) if asked else None))
    assert answer.status == 403
    assert "subjectAltName" in answer.text
    assert not world.main.requests


CHANGE_SUBJECT_NAME = "1.3.6.1.5.5.7.7.36"
NEW_NAME = bytes.fromhex("3010300e310c300a06035504030c036e6577")
"""ChangeSubjectName { subject CN=new }."""


def test_ren_03_enr_06_other_names_only_by_change_subject_name(world: World) -> None:
    authority = world.other
    key = pki.ec_key()
    identity = authority.issuer.client("CN=old", key=key)
    csr = pki.csr(key, "CN=old", attributes={CHANGE_SUBJECT_NAME: [NEW_NAME]})
    client = world.client(identity.certificate)
    for operation in ("simpleenroll", "simplereenroll"):
        (certificate,) = certificates(client.post(f"{EST}/other/{operation}", body(csr)))
        assert certificate.subject.rfc4514_string() == "CN=new"


def test_enr_06_a_ca_that_keeps_names_refuses_to_change_them(world: World) -> None:
    csr = pki.csr(pki.ec_key(), "CN=old", attributes={CHANGE_SUBJECT_NAME: [NEW_NAME]})
    answer = enroll(world.client(), csr)
    assert answer.status == 403
    assert "ChangeSubjectName" in answer.text
    csr = pki.csr(pki.ec_key(), "CN=old", attributes={CHANGE_SUBJECT_NAME: [bytes.fromhex("3000")]})
    assert enroll(world.client(), csr, "/other/simpleenroll").status == 400


def test_ren_05_another_certificate_of_the_same_names(world: World) -> None:
    older = Renewing(world)
    newer = Renewing(world)
    assert older.ask(pki.csr(newer.key, newer.subject)).status == 200


def test_ren_06_without_a_certificate_there_is_nothing_to_renew(
    world: World, request_: x509.CertificateSigningRequest
) -> None:
    assert world.client().post(f"{EST}/simplereenroll", body(request_)).status == 401
    answer = enroll(world.client(), request_, "/simplereenroll")
    assert answer.status == 403
    assert "client certificate" in answer.text
    assert not world.main.requests


def test_ren_07_a_revoked_certificate_is_not_renewed(world: World) -> None:
    key = pki.ec_key()
    identity = world.other.issuer.client("CN=a", key=key)
    client = world.client(identity.certificate)
    csr = pki.csr(key, "CN=a")
    world.other.status_of = CertificateStatus.REVOKED
    answer = client.post(f"{EST}/other/simplereenroll", body(csr))
    assert answer.status == 403
    assert "revoked" in answer.text
    world.other.status_of = CertificateStatus.GOOD
    assert client.post(f"{EST}/other/simplereenroll", body(csr)).status == 200


def test_ren_09_tls_06_a_certificate_of_another_issuer_enrolls_but_does_not_renew(world: World) -> None:
    for stranger in (pki.root("CN=Maker").client("CN=device-1"), world.other.issuer.client("CN=device-1")):
        client = world.client(stranger.certificate)
        csr = pki.csr(stranger.key, "CN=device-1")
        answer = client.post(f"{EST}/simplereenroll", body(csr))
        assert answer.status == 403
        assert "simpleenroll" in answer.text
        assert client.post(f"{EST}/simpleenroll", body(csr)).status == 200
