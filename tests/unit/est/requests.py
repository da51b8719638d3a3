"""PKCS#10 requests of every kind: real ones, made ones, and ones that no library would make."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kipuka.errors import Kind, RequestError
from kipuka.est.csr import CertificationRequest
from tests.support import pki
from tests.unit.est import der

VECTORS = Path(__file__).parents[2] / "vectors" / "est" / "csr"
KEY = pki.ec_key()
CHALLENGE = "1.2.840.113549.1.9.7"
EXTENSIONS = "1.2.840.113549.1.9.14"
MICROSOFT_EXTENSIONS = "1.3.6.1.4.1.311.2.1.14"
CHANGE = "1.3.6.1.5.5.7.7.36"
SAN_OID = bytes.fromhex("0603551d11")
DNS_A = der.write(0x82, b"a.example")
NAME_NEW = pki.name("CN=new,O=Example").public_bytes()


def vector(name: str) -> bytes:
    lines = (VECTORS / f"{name}.pem").read_text().splitlines()
    return base64.b64decode("".join(line for line in lines if not line.startswith("-----")))


def encoded(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_bytes(Encoding.DER)


def made(subject: str = "CN=dev1,O=Example", **kwargs: object) -> bytes:
    return encoded(pki.csr(KEY, subject, **kwargs))  # type: ignore[arg-type]


def signed(info: bytes) -> bytes:
    """A request with this CertificationRequestInfo, whatever it holds, signed by KEY."""
    signature = KEY.sign(info, ec.ECDSA(hashes.SHA256()))
    algorithm = der.write(der.SEQUENCE, bytes.fromhex("06082a8648ce3d040302"))
    return der.write(der.SEQUENCE, info, algorithm, der.write(0x03, b"\0", signature))


def attribute(oid: str, *values: bytes) -> bytes:
    first, second, *rest = (int(arc) for arc in oid.split("."))
    octets = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        octets += bytes(reversed(groups))
    return der.write(der.SEQUENCE, der.write(der.OID, bytes(octets)), der.write(der.SET, *values))


def with_attributes(*attributes: bytes, subject: bytes = NAME_NEW) -> bytes:
    key = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    content = b"".join(sorted(attributes))
    return signed(der.write(der.SEQUENCE, b"\x02\x01\0", subject, key, der.write(0xA0, content)))


def extensions(*names: bytes) -> bytes:
    """The value of an extensionRequest that asks for these general names."""
    alternative = der.write(0x04, der.write(der.SEQUENCE, *names))
    return der.write(der.SEQUENCE, der.write(der.SEQUENCE, SAN_OID, alternative))


def refusal(request: bytes, kind: Kind = Kind.MALFORMED) -> str:
    with pytest.raises(RequestError) as caught:
        CertificationRequest.decode(request)
    assert caught.value.kind is kind, caught.value
    assert caught.value.text.endswith(".")
    assert len(caught.value.cause) < 300
    return caught.value.text


def change(*fields: bytes) -> bytes:
    return der.write(der.SEQUENCE, *fields)


ALTERNATIVE = der.write(der.SEQUENCE, DNS_A)
GOOD = sorted(path.stem for path in (VECTORS / "good").glob("*.pem"))
