"""What the file CA puts into a certificate: one profile for end entities. Pure.

What a CSR asks for is granted as asked or refused by name, never changed or dropped (RFC 10002 §3.1): a device that
asked for key agreement and got signatures instead would find out in the field.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from kipuka.errors import AuthorityError, Kind

Extension = tuple[x509.ExtensionType, bool]
"""A value and whether it is critical."""

EXTENDED_KEY_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.IPSEC_IKE,
}
"""What may be asked for. Not code signing, OCSP or cmcRA: those let a device vouch for what others rely on."""

_DEFAULT_EXTENDED_KEY_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_RSA_MINIMUM = 2048
_KEY_TYPES = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def extensions(
    csr: x509.CertificateSigningRequest,
    subject: x509.Name,
    alternative: x509.SubjectAlternativeName | None,
) -> list[Extension]:
    """Return the extensions of the certificate, without the authority key identifier.

    :param subject: the certificate's subject; when it is empty ``alternative`` must have a name, and is critical.
    :raises AuthorityError: REFUSED, naming what may not be; INVALID, when the CSR cannot be read.
    """
    key = _public_key(csr)
    asked = requested(csr)
    if not asked.keys() <= _GRANTED.keys():
        unknown = next(oid for oid in asked if oid not in _GRANTED)
        raise refused(f"the extension {unknown.dotted_string} is not one it grants", "leave it out of the CSR")
    granted: list[Extension] = [(x509.BasicConstraints(ca=False, path_length=None), True)]
    granted.append((x509.SubjectKeyIdentifier.from_public_key(key), False))
    for oid, default in _DEFAULTS.items():
        value = asked.get(oid, default(key))
        _GRANTED[oid](value, key)
        granted.append((value, oid == x509.KeyUsage.oid))
    for oid in asked.keys() - _DEFAULTS.keys():
        _GRANTED[oid](asked[oid], key)
    if alternative is not None and len(list(alternative)) > 0:
        granted.append((alternative, not list(subject)))
    elif not list(subject):
        raise refused("the CSR has neither a subject nor a subject alternative name", "put a name into it")
    return granted


def requested(csr: x509.CertificateSigningRequest) -> dict[x509.ObjectIdentifier, x509.ExtensionType]:
    """Return the extensions a CSR asks for, by OID.

    :raises AuthorityError: INVALID, when they cannot be read.
    """
    try:
        return {each.oid: each.value for each in csr.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise AuthorityError(
            Kind.INVALID,
            "The extensions in the certificate request cannot be read: make the CSR anew with well-formed extensions.",
            str(error)[:200],
        ) from None


def refused(what: str, remedy: str) -> AuthorityError:
    """Return the refusal of something the CSR asks for."""
    return AuthorityError(Kind.REFUSED, f"This CA refuses the request because {what}: {remedy}.")


def _public_key(csr: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    """Return the key if it is strong enough to be certified at all; labels may ask for more."""
    key = csr.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_MINIMUM:
        raise refused(f"an RSA key of {key.key_size} bits is too short", f"use at least {_RSA_MINIMUM}")
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        raise refused(f"it does not know the curve {key.curve.name}", "use P-256, P-384 or P-521")
    if not isinstance(key, _KEY_TYPES):
        raise refused("it does not know this type of key", "use RSA, EC, Ed25519 or Ed448")
    return key


def _default_key_usage(key: CertificatePublicKeyTypes) -> x509.KeyUsage:
    """Signatures, and for RSA the key transport of TLS 1.2 without forward secrecy."""
    return _key_usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPublicKey))


def _key_usage(*, digital_signature: bool, key_encipherment: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


_NO_KEY_USAGE = _key_usage(digital_signature=False, key_encipherment=False)


def _check_key_usage(usage: x509.ExtensionType, key: CertificatePublicKeyTypes) -> None:
    if not isinstance(usage, x509.KeyUsage):
        raise TypeError(type(usage))
    if usage == _NO_KEY_USAGE:  # RFC 5280 §4.2.1.3
        raise refused("the key usage names no use", "ask for one, or leave the extension out")
    if usage.key_cert_sign or usage.crl_sign:
        raise refused("keyCertSign and cRLSign are for CAs", "leave them out of the key usage")
    encipherment = usage.key_encipherment or usage.data_encipherment
    if encipherment and not isinstance(key, rsa.RSAPublicKey):  # RFC 8813 §3, RFC 8410 §5
        raise refused("only an RSA key can encipher", "leave keyEncipherment and dataEncipherment out of the key usage")
    if usage.key_agreement and not isinstance(key, ec.EllipticCurvePublicKey):  # RFC 3279 §2.3.1, RFC 8410 §5
        raise refused("only an EC key can do key agreement", "leave keyAgreement out of the key usage")


def _check_extended_key_usage(usages: x509.ExtensionType, _: CertificatePublicKeyTypes) -> None:
    if not isinstance(usages, x509.ExtendedKeyUsage):
        raise TypeError(type(usages))
    for usage in usages:
        if usage not in EXTENDED_KEY_USAGES:
            what = f"the extended key usage {usage.dotted_string} is not one it grants"
            raise refused(what, "leave it out of the CSR")


def _check_basic_constraints(constraints: x509.ExtensionType, _: CertificatePublicKeyTypes) -> None:
    if constraints != x509.BasicConstraints(ca=False, path_length=None):
        raise refused("it issues no CA certificates", "leave CA:TRUE and a path length out of the basic constraints")


def _check_subject_key_identifier(identifier: x509.ExtensionType, key: CertificatePublicKeyTypes) -> None:
    # It is always there, made by RFC 5280 §4.2.1.2 (1): one chosen freely could pretend to be the CA's own.
    if identifier != x509.SubjectKeyIdentifier.from_public_key(key):
        raise refused("the subject key identifier is not the SHA-1 digest of the key", "leave it out of the CSR")


def _accept(_value: x509.ExtensionType, _key: CertificatePublicKeyTypes) -> None:
    """Leave the names to the caller, who knows whether they are the CSR's own or those of ChangeSubjectName."""


_Check = Callable[[x509.ExtensionType, CertificatePublicKeyTypes], None]
_GRANTED: dict[x509.ObjectIdentifier, _Check] = {
    x509.BasicConstraints.oid: _check_basic_constraints,
    x509.SubjectKeyIdentifier.oid: _check_subject_key_identifier,
    x509.KeyUsage.oid: _check_key_usage,
    x509.ExtendedKeyUsage.oid: _check_extended_key_usage,
    x509.SubjectAlternativeName.oid: _accept,
}
_DEFAULTS: dict[x509.ObjectIdentifier, Callable[[CertificatePublicKeyTypes], x509.ExtensionType]] = {
    x509.KeyUsage.oid: _default_key_usage,
    x509.ExtendedKeyUsage.oid: lambda _key: _DEFAULT_EXTENDED_KEY_USAGE,
}
