"""A throwaway PKI for tests: certification authorities, certificates, CRLs and CSRs made on the spot.

    authority = pki.root("Test CA")
    server = authority.server()                       # localhost and 127.0.0.1, EKU serverAuth
    device = authority.client("CN=device-1", not_after=pki.NOW)
    request = pki.csr(device.key, "CN=device-1", challenge_password="binding")
    chain_file = server.write(tmp_path, "server").certificate

Subjects are RFC 4514 strings ("CN=a,O=b") or x509.Name; times are aware datetimes. Nothing is cached: an EC key costs
well under a millisecond, and tests that share keys by accident have surprising failures.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ
from pyasn1_modules import rfc2986

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

NOW = datetime.now(UTC).replace(microsecond=0)
"""The moment the tests started, to the second (X.509 times have no fractions)."""
_HOUR = timedelta(hours=1)
_YEAR = timedelta(days=365)


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Return a new EC key, on P-256 when nothing else is asked for."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a new RSA key of that many bits."""
    return rsa.generate_private_key(65537, bits)


def name(subject: x509.Name | str) -> x509.Name:
    """Return the name for an RFC 4514 string ("CN=a,O=b"; "" is the empty name)."""
    return subject if isinstance(subject, x509.Name) else x509.Name.from_rfc4514_string(subject)


def san(*names: str | x509.GeneralName) -> x509.SubjectAlternativeName:
    """Return a SubjectAlternativeName: a string is an IP address if it reads as one, else a DNS name."""
    return x509.SubjectAlternativeName([_general_name(each) for each in names])


def _general_name(text: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(text, x509.GeneralName):
        return text
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def pem(*certificates: x509.Certificate) -> bytes:
    """Return the certificates as one PEM text, in the order given."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def key_pem(key: PrivateKey, passphrase: str | None = None) -> bytes:
    """Return the key as PKCS#8 PEM, encrypted when there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _hash(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


@dataclasses.dataclass(frozen=True)
class Files:
    """Where :meth:`Identity.write` put things."""

    certificate: Path
    """The certificate followed by its intermediates, PEM."""
    key: Path
    """The private key, PKCS#8 PEM, mode 0600."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """A certificate, its private key and the intermediates between it and the root (nearest first, no root)."""

    certificate: x509.Certificate
    key: PrivateKey = dataclasses.field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The certificate and its intermediates: what a TLS peer sends."""
        return (self.certificate, *self.intermediates)

    def write(self, folder: Path, stem: str, passphrase: str | None = None) -> Files:
        """Write STEM.pem (certificate and intermediates) and STEM-key.pem into the folder."""
        files = Files(certificate=folder / f"{stem}.pem", key=folder / f"{stem}-key.pem")
        files.certificate.write_bytes(pem(*self.chain))
        files.key.touch(mode=0o600)
        files.key.write_bytes(key_pem(self.key, passphrase))
        return files


@dataclasses.dataclass(frozen=True)
class Issuer(Identity):
    """A certification authority."""

    def intermediate(self, subject: x509.Name | str = "CN=Test Intermediate", key: PrivateKey | None = None) -> Issuer:
        """Return a subordinate CA signed by this one."""
        key = key or ec_key()
        certificate = self.certify(key, subject, extensions=_ca_extensions(), not_after=NOW + _YEAR)
        return Issuer(certificate, key, self._path())

    def server(
        self,
        *names: str,
        subject: x509.Name | str = "CN=localhost",
        key: PrivateKey | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        usages: Iterable[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH,),
    ) -> Identity:
        """Return a TLS server certificate for the names (localhost and 127.0.0.1 unless told)."""
        key = key or ec_key()
        extensions = _leaf_extensions(usages, san(*(names or ("localhost", "127.0.0.1"))))
        certificate = self.certify(key, subject, extensions=extensions, not_before=not_before, not_after=not_after)
        return Identity(certificate, key, self._path())

    def client(
        self,
        subject: x509.Name | str = "CN=device-1",
        alternative: x509.SubjectAlternativeName | None = None,
        *,
        key: PrivateKey | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        usages: Iterable[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    ) -> Identity:
        """Return a TLS client certificate; no SAN unless given, no EKU when ``usages`` is empty."""
        key = key or ec_key()
        extensions = _leaf_extensions(usages, alternative)
        certificate = self.certify(key, subject, extensions=extensions, not_before=not_before, not_after=not_after)
        return Identity(certificate, key, self._path())

    def certify(
        self,
        key: PrivateKey,
        subject: x509.Name | str,
        *,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        serial: int | None = None,
    ) -> x509.Certificate:
        """Sign a certificate with exactly these extensions (value, critical) and the two key identifiers.

        Valid from an hour ago for a day unless told. A ``not_after`` earlier than the default start moves the start.
        """
        not_after = not_after or NOW + timedelta(days=1)
        not_before = not_before or min(NOW, not_after) - _HOUR
        builder = x509.CertificateBuilder(self.certificate.subject, name(subject), key.public_key())
        builder = builder.serial_number(serial or x509.random_serial_number())
        builder = builder.not_valid_before(not_before).not_valid_after(not_after)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer_key, critical=False)
        return builder.sign(self.key, _hash(self.key))

    def crl(
        self,
        revoked: Iterable[x509.Certificate | int] = (),
        *,
        last_update: datetime | None = None,
        next_update: datetime | None = None,
    ) -> x509.CertificateRevocationList:
        """Return a CRL of the certificates (or serial numbers), good for a day unless told."""
        next_update = next_update or NOW + timedelta(days=1)
        last_update = last_update or min(NOW, next_update) - _HOUR
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject)
        builder = builder.last_update(last_update).next_update(next_update)
        for each in revoked:
            serial = each if isinstance(each, int) else each.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(last_update)
            builder = builder.add_revoked_certificate(entry.build())
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return builder.add_extension(issuer_key, critical=False).sign(self.key, _hash(self.key))

    def _path(self) -> tuple[x509.Certificate, ...]:
        """What certificates signed here have between them and the root."""
        is_root = self.certificate.issuer == self.certificate.subject
        return () if is_root else self.chain


def root(
    subject: x509.Name | str = "CN=Test Root CA",
    key: PrivateKey | None = None,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Issuer:
    """Return a self-signed root CA: an EC key unless one is given (``key=pki.rsa_key()``)."""
    key = key or ec_key()
    not_after = not_after or NOW + _YEAR
    not_before = not_before or min(NOW, not_after) - _HOUR
    builder = x509.CertificateBuilder(name(subject), name(subject), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(not_before).not_valid_after(not_after)
    for value, critical in _ca_extensions():
        builder = builder.add_extension(value, critical)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Issuer(builder.sign(key, _hash(key)), key)


def with_unknown_key(certificate: x509.Certificate) -> x509.Certificate:
    """Return the certificate with a curve that cryptography does not know in place of its P-256."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    known, unknown = (bytes.fromhex(oid) for oid in ("06082a8648ce3d030107", "06082a8648ce3d030001"))
    assert der.count(known) == 1
    return x509.load_der_x509_certificate(der.replace(known, unknown))


def with_key_for_pss(certificate: x509.Certificate) -> x509.Certificate:
    """Return the certificate with its RSA key one for RSASSA-PSS only, of default parameters."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    any_use, pss = (bytes.fromhex(each) for each in ("06092a864886f70d0101010500", "06092a864886f70d01010a3000"))
    assert der.count(any_use) == 1
    return x509.load_der_x509_certificate(der.replace(any_use, pss))


def csr(
    key: PrivateKey,
    subject: x509.Name | str,
    alternative: x509.SubjectAlternativeName | None = None,
    *,
    challenge_password: str | None = None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    attributes: Mapping[str, Iterable[bytes]] | None = None,
) -> x509.CertificateSigningRequest:
    """Return a signed PKCS#10 request.

    ``attributes`` adds attributes of any type: dotted OID to its values, each a complete DER element.
    """
    builder = x509.CertificateSigningRequestBuilder(name(subject))
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    if challenge_password is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge_password.encode())
    request = builder.sign(key, _hash(key))
    return _with_attributes(request, key, attributes) if attributes else request


def _with_attributes(
    request: x509.CertificateSigningRequest, key: PrivateKey, attributes: Mapping[str, Iterable[bytes]]
) -> x509.CertificateSigningRequest:
    """Add raw attributes and sign again: cryptography's builder takes only strings as values."""
    der = request.public_bytes(serialization.Encoding.DER)
    structure, _ = decoder.decode(der, asn1Spec=rfc2986.CertificationRequest())
    for oid, values in attributes.items():
        attribute = rfc2986.Attribute()
        attribute["type"] = oid
        for value in values:
            attribute["values"].append(univ.Any(value))
        structure["certificationRequestInfo"]["attributes"].append(attribute)
    signed = encoder.encode(structure["certificationRequestInfo"])
    structure["signature"] = univ.BitString.fromOctetString(_sign(key, signed))
    return x509.load_der_x509_csr(encoder.encode(structure))


def _sign(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data)


def _ca_extensions() -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (_key_usage(key_cert_sign=True, crl_sign=True, digital_signature=False), True),
    ]


def _leaf_extensions(
    usages: Iterable[x509.ObjectIdentifier], alternative: x509.SubjectAlternativeName | None
) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True), True),
    ]
    if usages := list(usages):
        extensions.append((x509.ExtendedKeyUsage(usages), False))
    if alternative is not None:
        extensions.append((alternative, False))
    return extensions


def _key_usage(*, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
