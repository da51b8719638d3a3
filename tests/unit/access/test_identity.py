from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from kipuka.access.identity import Caller, subject_text
from kipuka.errors import Kind, RequestError
from tests.support import pki

ROOT = pki.root()
DEVICE = ROOT.client("CN=dev1,O=Example").certificate


def caller(user: str | None = None, certificate: x509.Certificate | None = None) -> Caller:
    return Caller(certificate, user, "192.0.2.7")


def test_names_of_callers() -> None:
    assert caller().name == "anonymous"
    assert caller("alice").name == "user:alice"
    assert caller(None, DEVICE).name == "certificate:CN=dev1,O=Example"
    assert caller("alice", DEVICE).name == "user:alice+certificate:CN=dev1,O=Example"


def test_wait_04_the_same_subject_from_another_ca_is_another_caller() -> None:
    other = pki.root("CN=Another CA").client("CN=dev1,O=Example").certificate
    assert caller(None, other).name == caller(None, DEVICE).name
    assert caller(None, other).identity != caller(None, DEVICE).identity
    renewed = ROOT.client("CN=dev1,O=Example").certificate
    assert caller("alice", renewed).identity == caller("alice", DEVICE).identity


def test_auth_07_an_empty_user_name_is_a_user() -> None:
    assert caller("").name == "user:"


def test_auth_13_a_user_cannot_pass_for_a_certificate() -> None:
    assert caller("alice+certificate:CN=dev1,O=Example").name == r"user:alice\+certificate:CN=dev1,O=Example"


def test_names_are_one_line_of_printable_text() -> None:
    certificate = ROOT.client(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a\nuser:root\x1b[2J")])
    ).certificate
    assert caller("x\r\ny\u202e", certificate).name == r"user:x\0D\0Ay\E2\80\AE+certificate:CN=a\0Auser:root\1B[2J"


def test_a_certificate_without_a_subject_goes_by_its_fingerprint() -> None:
    certificate = ROOT.client("", pki.san("dev1.example")).certificate
    assert caller(None, certificate).name == f"certificate:sha256={certificate.fingerprint(hashes.SHA256()).hex()}"
    assert caller(None, certificate).common_name is None


@pytest.mark.parametrize(
    ("subject", "common_name"),
    [
        ("CN=dev1,O=Example", "dev1"),
        ("O=Example", None),
        ("CN=dev1,CN=dev2", None),
        ("CN=dev1+CN=dev2,O=Example", None),
    ],
)
def test_common_name_only_if_there_is_one(subject: str, common_name: str | None) -> None:
    assert caller(None, ROOT.client(subject).certificate).common_name == common_name
    assert caller("alice").common_name is None


def test_a_subject_that_cannot_be_read_is_refused() -> None:
    encoded = DEVICE.public_bytes(pki.serialization.Encoding.DER)
    # The common name's UTF8String becomes bytes that are no UTF-8; OpenSSL does not mind.
    broken = x509.load_der_x509_certificate(encoded.replace(b"\x0c\x04dev1", b"\x0c\x04\xff\xfe\xff\xfe"))
    for read in (
        lambda: subject_text(broken),
        lambda: caller(None, broken).name,
        lambda: caller(None, broken).common_name,
    ):
        with pytest.raises(RequestError, match="subject of the client certificate") as caught:
            read()
        assert caught.value.kind is Kind.FORBIDDEN


def test_an_issuer_that_cannot_be_read_is_refused() -> None:
    encoded = pki.root("CN=root1").client("CN=dev1").certificate.public_bytes(pki.serialization.Encoding.DER)
    broken = x509.load_der_x509_certificate(encoded.replace(b"\x0c\x05root1", b"\x0c\x05\xff\xfe\xff\xfe\xff"))
    with pytest.raises(RequestError, match="issuer of the client certificate") as caught:
        _ = caller(None, broken).identity
    assert caught.value.kind is Kind.FORBIDDEN


def test_callers_do_not_show_their_certificate_object() -> None:
    assert "Certificate" not in repr(caller("alice", DEVICE))


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_users_have_different_names(one: str, other: str) -> None:
    assert (caller(one).name == caller(other).name) == (one == other)
    assert caller(one).name.isprintable()
