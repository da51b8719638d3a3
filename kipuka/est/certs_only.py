"""Certificates as a degenerate SignedData: the answer to /cacerts and to enrollments (RFC 7030 §4.1.3, §4.2.3)."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7


def encode(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return DER of a SignedData that holds these certificates and nothing else (RFC 5652 §5.1).

    Duplicates are left out. DER sorts the certificates, so the same set gives the same bytes in whatever order.

    :raises ValueError: when there is no certificate.
    """
    unique = list(dict.fromkeys(certificates))
    if not unique:
        raise ValueError("a certs-only message holds at least one certificate")
    return pkcs7.serialize_certificates(unique, Encoding.DER)
