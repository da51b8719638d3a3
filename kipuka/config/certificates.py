"""Is a certificate, a chain or a CRL fit for its place? Each check yields what is wrong, in words; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier, PublicKeyAlgorithmOID

_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}

Extension = TypeVar("Extension", bound=x509.ExtensionType)


def name_of(name: x509.Name) -> str:
    """Write a distinguished name for a person."""
    return name.rfc4514_string() or "(empty name)"


def check_validity(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    """Check that the certificate has begun and not ended."""
    name = name_of(certificate.subject)
    if now < certificate.not_valid_before_utc:
        yield f"the certificate {name} is not valid before {_day(certificate.not_valid_before_utc)}"
    if now > certificate.not_valid_after_utc:
        yield f"the certificate {name} expired on {_day(certificate.not_valid_after_utc)}; replace it"


def check_chain(chain: Sequence[x509.Certificate], now: datetime, *, to_root: bool = False) -> Iterator[str]:
    """Check that each certificate is valid and signed by the one after it.

    :param to_root: whether the last one has to be self-signed.
    """
    for certificate in chain:
        yield from check_validity(certificate, now)
    for certificate, issuer in pairwise(chain):
        if not _issued_by(certificate, issuer):
            yield (
                f"the chain breaks: {name_of(certificate.subject)} was not issued by {name_of(issuer.subject)}, the "
                f"certificate after it, but by {name_of(certificate.issuer)}; each must be followed by its issuer"
            )
    last = chain[-1]
    if to_root and not _issued_by(last, last):
        yield f"the chain does not reach a root: add the certificate of {name_of(last.issuer)}"


def leads_to(path: Iterable[x509.Certificate], anchors: Collection[x509.Certificate]) -> bool:
    """Tell whether a way from a CA to its root leads through one of the anchors, in whichever certificate of theirs."""
    return any(is_same_ca(each, anchor) or _issued_by(each, anchor) for each in path for anchor in anchors)


def with_those_below(
    anchors: Iterable[x509.Certificate], trusted: Iterable[x509.Certificate]
) -> frozenset[x509.Certificate]:
    """Add to some CAs all that are below them among those the handshake trusts.

    The path that it finds ends at the first CA that it trusts, which may be below the one that was named.
    """
    found, others = frozenset(anchors), frozenset(trusted)
    while below := {each for each in others - found if leads_to([each], found)}:
        found |= below
    return found


def public_key(certificate: x509.Certificate) -> bytes | None:
    """Return the SubjectPublicKeyInfo; None for a key that cryptography does not know."""
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def check_key(certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> Iterator[str]:
    """Check that the private key is the certificate's."""
    try:
        matches = certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        matches = False
    if not matches:
        yield f"this is not the key of the certificate {name_of(certificate.subject)}; give the one that belongs to it"


def check_padding(certificate: x509.Certificate) -> Iterator[str]:
    """Check that the key may sign as kipuka does with RSA, PKCS #1 v1.5: one for PSS may not (RFC 4055 §1.2)."""
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        yield (
            f"the key of the certificate {name_of(certificate.subject)} is for RSASSA-PSS only, with which kipuka does "
            "not sign; take a CA with an RSA key for any use (rsaEncryption), or an EC, Ed25519 or Ed448 key"
        )


def check_leaf(certificate: x509.Certificate, purpose: ObjectIdentifier) -> Iterator[str]:
    """Check a TLS certificate's purposes: it may name none, or must name this one (RFC 5280 §4.2.1.3, §4.2.1.12)."""
    name = name_of(certificate.subject)
    try:
        purposes = _extension(certificate, x509.ExtendedKeyUsage)
        usage = _extension(certificate, x509.KeyUsage)
    except ValueError:
        yield f"the certificate {name} has extensions that cannot be read"
        return
    if purposes is not None and not {purpose, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        yield f"the certificate {name} is not for this use: its extended key usage lacks {_PURPOSES[purpose]}"
    if usage is not None and not usage.digital_signature:
        yield f"the certificate {name} cannot be used for TLS: its key usage lacks digitalSignature"


def check_names(certificate: x509.Certificate, hosts: Sequence[str]) -> Iterator[str]:
    """Check that a server certificate has names in its SAN, the hosts' among them (RFC 9525 §6.3)."""
    try:
        alternative = _extension(certificate, x509.SubjectAlternativeName)
    except ValueError:
        yield "the certificate's subjectAltName cannot be read"
        return
    names = [name.lower() for name in alternative.get_values_for_type(x509.DNSName)] if alternative else []
    addresses = alternative.get_values_for_type(x509.IPAddress) if alternative else []
    if not names and not addresses:
        yield "the certificate has no DNS name or IP address in a subjectAltName, so clients would refuse it"
        return
    for host in hosts:
        if not any(_covers(name, host.lower()) for name in names):
            yield f"the certificate is not for {host}, where the server listens; it is for {', '.join(names) or 'none'}"


def check_ca(certificate: x509.Certificate) -> Iterator[str]:
    """Check that it is a CA's: basicConstraints CA, and keyCertSign (RFC 5280 §4.2.1.9, §4.2.1.3)."""
    name = name_of(certificate.subject)
    try:
        constraints = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.KeyUsage)
    except ValueError:
        yield f"the certificate {name} has extensions that cannot be read"
        return
    if constraints is None or not constraints.ca:
        yield f"{name} is not the certificate of a CA (basicConstraints)"
    elif usage is not None and not usage.key_cert_sign:
        yield f"the CA certificate {name} may not sign certificates: its key usage lacks keyCertSign"


def may_sign_crls(certificate: x509.Certificate) -> bool:
    """Tell whether a CA's certificate lets it sign CRLs (RFC 5280 §4.2.1.3)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return usage.crl_sign


def check_crl(crl: x509.CertificateRevocationList, anchors: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    """Check that the CRL is signed by one of the trust anchors and is current."""
    name = name_of(crl.issuer)
    signers = [anchor for anchor in anchors if anchor.subject == crl.issuer]
    if not signers:
        yield f"the CRL of {name} is from none of the CAs in tls.client_auth.trust_anchors"
    elif not any(_signed(crl, anchor) for anchor in signers):
        yield f"the CRL of {name} does not carry that CA's signature"
    if now < crl.last_update_utc:
        yield f"the CRL of {name} is not valid before {_day(crl.last_update_utc)}"
    if crl.next_update_utc is not None and now > crl.next_update_utc:
        yield f"the CRL of {name} was to be renewed by {_day(crl.next_update_utc)}; fetch the current one"


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except x509.DuplicateExtension as error:
        raise ValueError("an extension stands there twice") from error


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_same_ca(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether both are certificates of one name and key: another CA may have certified it too."""
    if one == other:
        return True
    key = public_key(one) if one.subject == other.subject else None
    return key is not None and key == public_key(other)


def _signed(crl: x509.CertificateRevocationList, anchor: x509.Certificate) -> bool:
    try:
        key = anchor.public_key()
        return isinstance(
            key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
        ) and crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _covers(pattern: str, host: str) -> bool:
    """Compare a name of the SAN with a host name; a leading ``*`` is for one label."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
