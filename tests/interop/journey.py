"""What a device does with EST, whatever program it uses, and what must hold after each step.

A journey is: fetch the CA certificates, enroll with a password or with a certificate, renew what was issued with a new
key. Each client program is an adapter (a module beside this one) with the methods of :class:`Client`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.support.pki import Files

KeyType = Literal["ec", "rsa"]

ORGANIZATION = "Example"
LONGEST_CHAIN = 8


@dataclasses.dataclass(frozen=True)
class Password:
    """What HTTP Basic needs."""

    user: str
    secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Server:
    """All that a device is told of a server before it enrolls."""

    host: str
    port: int
    trust: Path
    """The certificate, PEM, behind the server's own TLS certificate."""
    password: Password
    birth: Files
    """A certificate and key from the device's maker, which the server trusts for enrolling."""
    label: str | None = None

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        return f"{self.host}:{self.port}"

    def at(self, label: str) -> Server:
        """The same server, asked under this label."""
        return dataclasses.replace(self, label=label)


@dataclasses.dataclass(frozen=True)
class Device:
    """The names a device wants in its certificate, and the kind of key it makes."""

    name: str
    key_type: KeyType


class Client(Protocol):
    """A client program in a folder of its own. A step that fails raises AssertionError with what the program said."""

    def __init__(self, server: Server, folder: Path) -> None: ...

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """Fetch the CA's certificates; always the first step, and without credentials."""

    def enroll(self, device: Device, credential: Password | Files) -> Files:
        """Make a key and a CSR, and have it signed; :return: the new certificate and its key."""

    def renew(self, device: Device, old: Files) -> Files:
        """Re-enroll with the old certificate as TLS client certificate, for a new key."""


def certificates_of(file: Path) -> tuple[x509.Certificate, ...]:
    """Read what a client stored, PEM."""
    return tuple(x509.load_pem_x509_certificates(file.read_bytes()))


def check_ca_certificates(certificates: Sequence[x509.Certificate]) -> None:
    """A chain is there, with its root and without duplicates (RFC 7030 §4.1.3)."""
    assert certificates, "no CA certificate was delivered"
    assert len(set(certificates)) == len(certificates), "a CA certificate was delivered twice"
    roots = [each for each in certificates if each.subject == each.issuer]
    assert roots, "the root is not among the CA certificates"
    for each in certificates:
        assert each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, f"{each.subject} is no CA"


def check_issued(files: Files, device: Device, ca_certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """One certificate, for this device and key, valid now, and verifiable with the CA certificates alone.

    :return: that certificate.
    """
    delivered = certificates_of(files.certificate)
    assert len(delivered) == 1, f"{len(delivered)} certificates were delivered instead of one"
    certificate = delivered[0]
    key = load_pem_private_key(files.key.read_bytes(), None)
    assert _key_bytes(certificate.public_key()) == _key_bytes(key.public_key()), "the certificate is for another key"
    names = [each.value for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    assert names == [device.name], f"the certificate is for {certificate.subject.rfc4514_string()}"
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == [device.name], f"its alternative names are {alternative}"
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc <= now + timedelta(seconds=1), "the certificate is not valid yet"
    assert now < certificate.not_valid_after_utc, "the certificate has expired"
    _check_path(certificate, ca_certificates)
    return certificate


def check_renewed(old: x509.Certificate, new: x509.Certificate) -> None:
    """The same names, byte for byte, and another certificate and key (RFC 7030 §4.2.2)."""
    assert new.subject.public_bytes() == old.subject.public_bytes(), "the subject has changed"
    assert new.serial_number != old.serial_number, "the serial number is the old one"
    assert _key_bytes(new.public_key()) != _key_bytes(old.public_key()), "the key is the old one"
    assert _alternative(new) == _alternative(old), "the alternative names have changed"


def _check_path(certificate: x509.Certificate, ca_certificates: Sequence[x509.Certificate]) -> None:
    """Walk from the certificate to a root, checking each signature."""
    for _ in range(LONGEST_CHAIN):
        issuers = [each for each in ca_certificates if each.subject == certificate.issuer]
        assert issuers, f"the CA certificates do not hold the issuer {certificate.issuer.rfc4514_string()}"
        certificate.verify_directly_issued_by(issuers[0])
        if issuers[0] == certificate:
            return
        certificate = issuers[0]
    raise AssertionError("the chain does not end")


def _alternative(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.public_bytes()


def _key_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
