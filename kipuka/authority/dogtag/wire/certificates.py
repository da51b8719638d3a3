"""Certificates in Dogtag's JSON: one with the CA's word on it, chains, searches."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key, pkcs7

from kipuka.authority.dogtag.wire.answer import Answer, bad, mapping, parse, parse_id, printable, sequence, text
from kipuka.est.der import CONTEXT_0, SEQUENCE, parts

NOT_LOADED = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What cryptography raises over bytes that it does not take."""

_CHAIN_LIMIT = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True)
class CertificateRecord:
    """A certificate and the CA's status of it: VALID, INVALID, REVOKED, EXPIRED or REVOKED_EXPIRED.

    :param reason: the number of RFC 5280 §5.3.1; None while it is not revoked. On hold is REVOKED for reason 6.
    :param nonce: in the answer to an agent: what allows this session to revoke it.
    """

    certificate: x509.Certificate
    status: str
    reason: int | None = None
    revoked_on: datetime | None = None
    nonce: int | None = None


def certificate(answer: Answer) -> CertificateRecord:
    """Read the answer of ``certs/{id}``, and of ``agent/certs/{id}``, which has a nonce as well."""
    body = mapping(parse(answer), "certificate")
    revoked_on = _integer(body.get("RevokedOn"), "RevokedOn")
    return CertificateRecord(
        _certificate(body),
        text(body.get("Status"), "Status"),
        _integer(body.get("RevocationReason"), "RevocationReason"),
        None if revoked_on is None else _moment(revoked_on),
        _integer(body.get("Nonce"), "Nonce"),
    )


def chain(answer: Answer) -> tuple[x509.Certificate, ...]:
    """Read the answer of ``config/cert/signing``: the CA's certificate and its issuers as far as they are there."""
    body = mapping(parse(answer), "certificate")
    return in_order(_certificate(body), _bag(text(body.get("PKCS7CertChain"), "PKCS7CertChain")))


def in_order(
    first: x509.Certificate, others: tuple[x509.Certificate, ...] | list[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """Return the path from the first certificate upwards; a PKCS#7 holds certificates in no useful order."""
    path = [first]
    while path[-1].issuer != path[-1].subject and len(path) < _CHAIN_LIMIT:
        issuer = next((each for each in others if each not in path and _issued(each, path[-1])), None)
        if issuer is None:
            break
        path.append(issuer)
    return tuple(path)


def search_body(issued_from: int, common_name: str | None = None) -> bytes:
    """Return the body of ``POST certs/search``.

    :param issued_from: milliseconds since 1970; Dogtag looks at whole seconds, this one included.
    :param common_name: must be one of the subject's. An empty one would match every certificate.
    """
    criteria: dict[str, object] = {"issuedOnInUse": True, "issuedOnFrom": str(issued_from)}
    if common_name:
        criteria |= {"subjectInUse": True, "commonName": common_name, "matchExactly": True}
    return json.dumps(criteria).encode("ascii")


def found(answer: Answer) -> tuple[int, ...]:
    """Read the answer of ``POST certs/search``: serial numbers in the server's order, the oldest certificate first."""
    entries = sequence(mapping(parse(answer), "answer").get("entries"), "entries")
    return tuple(parse_id(mapping(each, "entries[]").get("id")) for each in entries)


def key_digest(source: x509.Certificate | x509.CertificateSigningRequest) -> str | None:
    """Return the SHA-256 of the SubjectPublicKeyInfo as hex; None for a key that cryptography does not know."""
    try:
        return _digest(source.public_key())
    except NOT_LOADED:
        return None


def certified_key(answer: Answer) -> str | None:
    """Return the :func:`key_digest` of what ``certs/{id}`` answers, even if cryptography does not load the certificate.

    A CA may hold some of which cryptography bears the version, a date or a name not. They must not stand in the way of
    those that are looked for, nor be passed over if they are those.
    """
    pem = text(mapping(parse(answer), "certificate").get("Encoded"), "Encoded")
    try:
        return key_digest(x509.load_pem_x509_certificate(pem.encode()))
    except NOT_LOADED:
        pass
    try:
        return _digest(load_der_public_key(_public_key_info(pem)))
    except NOT_LOADED:
        return None


def _digest(key: PublicKeyTypes) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _public_key_info(pem: str) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate, of which nothing else is looked at (RFC 5280 §4.1)."""
    lines = [line.strip() for line in pem.splitlines() if "-----" not in line]
    try:
        to_be_signed = parts(base64.b64decode("".join(lines), validate=True), SEQUENCE, 3)[0]
        fields = parts(to_be_signed, SEQUENCE, 10)
        return fields[6 if fields[0][0] == CONTEXT_0 else 5]  # the version, which comes first, may be left out
    except (ValueError, IndexError) as error:
        bad(f"Encoded is no certificate: {printable(str(error))}")


def _certificate(body: dict[str, Any]) -> x509.Certificate:
    pem = text(body.get("Encoded"), "Encoded")
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except NOT_LOADED as error:
        bad(f"Encoded is no certificate: {printable(str(error))}")


def _bag(text: str) -> list[x509.Certificate]:
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
        return pkcs7.load_der_pkcs7_certificates(der)
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        bad(f"PKCS7CertChain is no PKCS#7: {printable(str(error))}")


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _integer(value: object, what: str) -> int | None:
    """Read a number, which some versions write as text; up to 19 digits, more than a float holds."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else bad(f"{what} is no number")


def _moment(milliseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        bad(f"{milliseconds} is no time")
