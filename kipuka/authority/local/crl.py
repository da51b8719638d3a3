"""The CRL of the file CA (RFC 5280 §5): complete, direct, version 2. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.authority.local.book import Entry
from kipuka.authority.local.signing import authority_key_identifier, digest

LIFE = timedelta(days=1)
"""From one CRL's thisUpdate to its nextUpdate: how long somebody may go on believing an old one."""
RENEWED = LIFE / 2
"""How long before nextUpdate there is a new one: half a day in which kipuka or its database may be away."""

_FLAGS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


def build(
    issuer: x509.Certificate,
    key: CertificateIssuerPrivateKeyTypes,
    number: int,
    entries: Sequence[Entry],
    now: datetime,
) -> bytes:
    """Return the DER of a CRL with these entries, issued now."""
    now = now.replace(microsecond=0)
    # Each add_revoked_certificate would copy the list: with many on it, seconds in which nobody else can write.
    listed = [_revoked(each, now) for each in entries]
    builder = x509.CertificateRevocationListBuilder(issuer.subject, now, now + LIFE, revoked_certificates=listed)
    builder = builder.add_extension(authority_key_identifier(issuer), critical=False)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(key, digest(key)).public_bytes(Encoding.DER)


def may_sign(issuer: x509.Certificate) -> bool:
    """Tell whether the CA's certificate allows it to sign CRLs (RFC 5280 §4.2.1.3)."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _revoked(entry: Entry, now: datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(entry.serial, min(entry.revoked or now, now))
    flag = _FLAGS.get(entry.reason or 0)
    if flag is not None:  # unspecified is said by leaving the reason out (RFC 5280 §5.3.1)
        builder = builder.add_extension(x509.CRLReason(flag), critical=False)
    return builder.build()
