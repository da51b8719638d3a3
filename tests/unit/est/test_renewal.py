from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from kipuka.errors import Kind, RequestError
from kipuka.est import renewal
from kipuka.est.csr import CertificationRequest
from tests.support import pki
from tests.unit.est import der

SUBJECT = "CN=dev1,OU=Things,O=Example"
ROOT = pki.root()
DEVICE = ROOT.client(SUBJECT, alternative=pki.san("dev1.example", "192.0.2.1"))
WITHOUT = ROOT.client(SUBJECT)


def request(subject: x509.Name | str, *names: str, change: bytes | None = None) -> CertificationRequest:
    made = pki.csr(
        pki.ec_key(),
        subject,
        pki.san(*names) if names else None,
        attributes=None if change is None else {"1.3.6.1.5.5.7.7.36": [change]},
    )
    return CertificationRequest.decode(made.public_bytes(Encoding.DER))


def refusal(wanted: CertificationRequest, certificate: x509.Certificate) -> str:
    with pytest.raises(RequestError) as caught:
        renewal.check(wanted, certificate)
    assert caught.value.kind is Kind.FORBIDDEN
    return caught.value.text


def test_ren_01_same_subject_and_names() -> None:
    renewal.check(request(SUBJECT, "dev1.example", "192.0.2.1"), DEVICE.certificate)


def test_ren_02_both_absent_is_equal() -> None:
    renewal.check(request(SUBJECT), WITHOUT.certificate)


def typed(value: str, kind: _ASN1Type) -> x509.Name:
    *others, _ = pki.name(SUBJECT)
    return x509.Name([*others, x509.NameAttribute(NameOID.COMMON_NAME, value, kind)])


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "CN=dev1,O=Example",
        "CN=dev1,OU=Things,O=Example,C=CH",
        "CN=dev1,O=Example,OU=Things",
        "CN=Dev1,OU=Things,O=Example",
        "CN=dev1\\ ,OU=Things,O=Example",
        "CN=dev1+OU=Things,O=Example",
        typed("dev1", _ASN1Type.PrintableString),
    ],
    ids=["empty", "one less", "one more", "other order", "other case", "a space", "joined", "other string type"],
)
def test_ren_01_another_subject_is_refused(subject: x509.Name | str) -> None:
    wanted = request(subject, "dev1.example", "192.0.2.1")
    assert refusal(wanted, DEVICE.certificate).startswith("The subject of the request")


@pytest.mark.parametrize(
    "names",
    [
        ["dev1.example"],
        ["dev1.example", "192.0.2.1", "other.example"],
        ["192.0.2.1", "dev1.example"],
        ["DEV1.example", "192.0.2.1"],
    ],
    ids=["one less", "one more", "other order", "other case"],
)
def test_ren_02_other_names_are_refused(names: list[str]) -> None:
    text = refusal(request(SUBJECT, *names), DEVICE.certificate)
    assert text.startswith("The subjectAltName of the request")
    assert "same order" in text


def test_ren_02_names_on_one_side_only_are_refused() -> None:
    assert "the request has none" in refusal(request(SUBJECT), DEVICE.certificate)
    assert "the certificate has none" in refusal(request(SUBJECT, "dev1.example"), WITHOUT.certificate)


def test_ren_03_with_a_change_the_request_still_names_the_holder() -> None:
    change = der.write(der.SEQUENCE, pki.name("CN=dev2").public_bytes())
    wanted = request(SUBJECT, "dev1.example", "192.0.2.1", change=change)
    renewal.check(wanted, DEVICE.certificate)
    assert wanted.effective_subject == pki.name("CN=dev2")
    assert wanted.effective_alternative is None


def test_ren_03_a_change_does_not_excuse_another_subject() -> None:
    change = der.write(der.SEQUENCE, pki.name(SUBJECT).public_bytes())
    assert "subject of the request" in refusal(request("CN=dev2", change=change), WITHOUT.certificate)
