"""Whatever bytes a client sends, they are a request or a refusal."""

from __future__ import annotations

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from kipuka.errors import Kind, RequestError
from kipuka.est import renewal
from kipuka.est.csr import CertificationRequest
from tests.support import pki
from tests.unit.est import der
from tests.unit.est.requests import (
    ALTERNATIVE,
    CHANGE,
    DNS_A,
    EXTENSIONS,
    GOOD,
    NAME_NEW,
    attribute,
    change,
    extensions,
    made,
    signed,
    vector,
    with_attributes,
)

FULL = made(
    alternative=pki.san("a.example", "192.0.2.1"),
    challenge_password="c2VjcmV0",
    attributes={CHANGE: [change(NAME_NEW, ALTERNATIVE)]},
)
FULL_INFO = x509.load_der_x509_csr(FULL).tbs_certrequest_bytes
CERTIFICATE = pki.root().client("CN=dev1,O=Example").certificate


@st.composite
def mutated(draw: st.DrawFn, *originals: bytes) -> bytes:
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["flip", "set", "insert", "delete", "truncate"])):
            case "flip":
                data[position] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[position] = draw(st.integers(0, 255))
            case "insert":
                data[position:position] = draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del data[position : position + draw(st.integers(1, 4))]
            case "truncate" if draw(st.integers(0, 9)) == 0:
                del data[position:]
        if not data:
            return b""
    return bytes(data)


def decode_or_refuse(request: bytes) -> None:
    """Whatever the bytes are: a value that every later step can use, or a RequestError."""
    try:
        decoded = CertificationRequest.decode(request)
        repr(decoded)
        decoded.effective_subject.rfc4514_string()
        decoded.effective_subject.public_bytes()
        if decoded.effective_alternative is not None:
            decoded.effective_alternative.public_bytes()
        renewal.check(decoded, CERTIFICATE)
    except RequestError as error:
        assert error.kind in (Kind.MALFORMED, Kind.FORBIDDEN)
        assert error.text.endswith(".")
        assert len(str(error)) < 600


@given(st.binary(max_size=300))
def test_enr_01_any_bytes(request: bytes) -> None:
    decode_or_refuse(request)


@settings(max_examples=300, deadline=None)
@given(mutated(*(vector(f"good/{name}") for name in GOOD), FULL))
def test_enr_01_mutated_requests(request: bytes) -> None:
    decode_or_refuse(request)


@settings(max_examples=500, deadline=None)
@given(mutated(FULL_INFO))
def test_enr_01_mutated_contents_signed_again(info: bytes) -> None:
    decode_or_refuse(signed(info))


@settings(max_examples=300, deadline=None)
@given(mutated(change(NAME_NEW, ALTERNATIVE), change(ALTERNATIVE), change(NAME_NEW)))
def test_enr_06_mutated_changes(value: bytes) -> None:
    decode_or_refuse(with_attributes(attribute(CHANGE, value)))


@settings(max_examples=300, deadline=None)
@given(
    mutated(extensions(DNS_A, der.write(0xA4, NAME_NEW), der.write(0x87, b"\xc0\0\x02\1"), der.write(0x88, b"\x2a")))
)
def test_enr_05_mutated_extensions(value: bytes) -> None:
    decode_or_refuse(with_attributes(attribute(EXTENSIONS, value)))
