"""Dogtag's JSON, as bytes here and as frozen values there. No network, no decisions.

Recorded from 10.10.2 and from the v1 API of 11.9.1, which differ little: 10.x names a request only in ``requestURL``
(decimal), 11.x in ``requestID`` (hexadecimal, 128 bit) and leaves members out instead of sending null.

Every function raises :class:`kipuka.errors.AuthorityError` of kind BAD_ANSWER when the body is not of the promised
shape; the offending text is in its cause, cut to a bounded length.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from cryptography.x509.oid import NameOID

from kipuka.errors import AuthorityError, Kind

# 160 bits of serial number (RFC 5280 §4.1.2.2) are 40 hexadecimal or 49 decimal digits; twice that is generous.
_ID = re.compile(r"0[xX][0-9a-fA-F]{1,80}|[0-9]{1,98}")
_CHAIN_LIMIT = 16
_TEXT_LIMIT = 200


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP. ``content_type`` and ``date`` are empty when the server sent none."""

    status: int
    content_type: str
    body: bytes
    date: str = field(default="", compare=False)
    """The server's clock, as its Date header has it."""

    @property
    def is_json(self) -> bool:
        """Dogtag mixes JSON with Tomcat's HTML pages and empty bodies: look before parsing."""
        return self.content_type.split(";")[0].strip().lower() == "application/json"


@dataclass(frozen=True)
class Input:
    """One group of fields in a profile's form."""

    id: str
    class_id: str
    name: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """The form of a profile: which fields it reads."""

    profile: str
    inputs: tuple[Input, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The names of all fields."""
        return frozenset(name for each in self.inputs for name in each.attributes)


@dataclass(frozen=True)
class RequestInfo:
    """How a request stands (``CertRequestInfo``).

    :param status: begin, pending, approved, svc_pending, complete, rejected or canceled.
    :param error: the server's words; empty when it has none. ``succeeded`` may be true beside it.
    """

    request_id: int | None
    status: str
    certificate_id: int | None
    succeeded: bool
    error: str


@dataclass(frozen=True)
class Review:
    """A request as an agent sees it.

    :param notes: what agents wrote about it.
    :param public_key: SHA-256 of the CSR's public key as hex; None when there is no CSR that can be read.
    """

    status: str
    notes: str
    public_key: str | None


@dataclass(frozen=True)
class CertificateRecord:
    """A certificate and the CA's status of it: VALID, INVALID, REVOKED, EXPIRED or REVOKED_EXPIRED."""

    certificate: x509.Certificate
    status: str


def parse_id(value: object) -> int:
    """Read an id of any size: 10.x writes decimal, 11.x and certificate ids "0x" and hexadecimal.

    :raises AuthorityError: BAD_ANSWER, when it is neither.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        _bad(f"not an id: {printable(repr(value))}")
    return int(value, 16 if value[:2] in ("0x", "0X") else 10)


def printable(text: str) -> str:
    """Return foreign text as one line of at most 200 printable characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: _TEXT_LIMIT * 4]).split())
    return line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…"


def template(answer: Answer) -> Template:
    """Read the answer of ``certrequests/profiles/{profile}``."""
    body = _object(_parse(answer), "template")
    inputs = tuple(_input(each) for each in _list(body.get("Input"), "Input"))
    return Template(_text(body.get("ProfileID"), "ProfileID"), inputs)


def enrollment_body(form: Template, values: Mapping[str, str]) -> bytes:
    """Fill the form by field name and return the body of ``POST certrequests``.

    Values the form has no field for are left out, fields without a value stay empty. Nothing but known members is
    written: 10.x refuses a body with others inside Input.
    """
    inputs = [
        {
            "id": each.id,
            "ClassID": each.class_id,
            "Name": each.name,
            "Attribute": [{"name": name, "Value": values.get(name, "")} for name in each.attributes],
        }
        for each in form.inputs
    ]
    return json.dumps({"ProfileID": form.profile, "Renewal": False, "Input": inputs}).encode("ascii")


def subject_fields(subject: x509.Name) -> dict[str, str]:
    """Return the subject as the fields of Dogtag's subject form, which some profiles read instead of the CSR's subject.

    The form has one place for each of these attributes and four for organizational units; anything else has none.
    """
    values: dict[str, str] = {}
    for key, oid in _SUBJECT_FIELDS.items():
        texts = [each.value for each in subject.get_attributes_for_oid(oid) if isinstance(each.value, str)]
        names = (key,) if oid != NameOID.ORGANIZATIONAL_UNIT_NAME else ("sn_ou", "sn_ou1", "sn_ou2", "sn_ou3")
        values.update(zip(names, texts, strict=False))
    return values


_SUBJECT_FIELDS = {
    "sn_uid": NameOID.USER_ID,
    "sn_e": NameOID.EMAIL_ADDRESS,
    "sn_cn": NameOID.COMMON_NAME,
    "sn_ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "sn_o": NameOID.ORGANIZATION_NAME,
    "sn_c": NameOID.COUNTRY_NAME,
}


def submitted(answer: Answer) -> RequestInfo:
    """Read the answer of ``POST certrequests``: a list of exactly one request."""
    entries = _list(_object(_parse(answer), "answer").get("entries"), "entries")
    if len(entries) != 1:
        _bad(f"{len(entries)} entries for one request")
    return _request_info(_object(entries[0], "entries[0]"))


def requested(answer: Answer) -> RequestInfo:
    """Read the answer of ``certrequests/{id}``."""
    return _request_info(_object(_parse(answer), "request"))


def listed(answer: Answer) -> tuple[int, ...]:
    """Read the answer of ``agent/certrequests``: the requests' numbers. There may be tens of thousands."""
    entries = _list(_object(_parse(answer), "answer").get("entries"), "entries")
    return tuple(parse_id(_request_number(_object(each, "entries[]"))) for each in entries)


def review(answer: Answer) -> Review:
    """Read the answer of ``agent/certrequests/{id}``, of which the policies are the largest and left unread part."""
    body = _object(_parse(answer), "review")
    inputs = [_object(each, "Input[]") for each in _list(body.get("Input") or [], "Input")]
    values = [each for group in inputs for each in _list(group.get("Attribute") or [], "Attribute")]
    fields = [_object(each, "Attribute[]") for each in values]
    requests = [each.get("Value") for each in fields if each.get("name") == "cert_request"]
    return Review(
        status=_text(body.get("requestStatus"), "requestStatus"),
        notes=printable(_optional_text(body.get("requestNotes"), "requestNotes")),
        public_key=_key_of_request(requests[0]) if requests and isinstance(requests[0], str) else None,
    )


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
    entries = _list(_object(_parse(answer), "answer").get("entries"), "entries")
    return tuple(parse_id(_object(each, "entries[]").get("id")) for each in entries)


def key_digest(source: x509.Certificate | x509.CertificateSigningRequest) -> str | None:
    """Return the SHA-256 of the SubjectPublicKeyInfo as hex; None for a key that cryptography does not know."""
    try:
        key = source.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def certificate(answer: Answer) -> CertificateRecord:
    """Read the answer of ``certs/{id}``."""
    body = _object(_parse(answer), "certificate")
    return CertificateRecord(_certificate(body), _text(body.get("Status"), "Status"))


def chain(answer: Answer) -> tuple[x509.Certificate, ...]:
    """Read the answer of ``config/cert/signing``: the CA's certificate and its issuers as far as they are there."""
    body = _object(_parse(answer), "certificate")
    return in_order(_certificate(body), _bag(_text(body.get("PKCS7CertChain"), "PKCS7CertChain")))


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


def message(answer: Answer) -> str:
    """Return the error text of an answer, or as much of the body as helps; always one printable line."""
    if answer.is_json:
        try:
            text = _object(_parse(answer), "error").get("Message")
        except AuthorityError:
            text = None
        if isinstance(text, str):
            return printable(text)
    title = re.search(rb"<title>(.{1,200}?)</title>", answer.body, re.DOTALL)
    return printable((title[1] if title else answer.body[:1000]).decode("utf-8", "replace"))


def _request_info(entry: dict[str, Any]) -> RequestInfo:
    named = _request_number(entry)
    certificate_id = entry.get("certId")
    return RequestInfo(
        request_id=None if named is None else parse_id(named),
        status=_text(entry.get("requestStatus"), "requestStatus"),
        certificate_id=None if certificate_id is None else parse_id(certificate_id),
        succeeded=entry.get("operationResult") == "success",
        error=printable(_optional_text(entry.get("errorMessage"), "errorMessage")),
    )


def _request_number(entry: dict[str, Any]) -> object:
    """In 10.x the URL is the only place. Its last part is the id in 11.x too, where the path before it is wrong."""
    url = entry.get("requestURL")
    return (
        entry.get("requestID") or entry.get("requestId") or (url.rpartition("/")[2] if isinstance(url, str) else None)
    )


def _input(value: object) -> Input:
    body = _object(value, "Input[]")
    names = [_object(each, "Attribute[]").get("name") for each in _list(body.get("Attribute"), "Attribute")]
    return Input(
        id=_text(body.get("id"), "Input[].id"),
        class_id=_optional_text(body.get("ClassID"), "ClassID"),
        name=_optional_text(body.get("Name"), "Name"),
        attributes=tuple(_text(each, "Attribute[].name") for each in names),
    )


def _key_of_request(text: str) -> str | None:
    """Other submitters send what they like: PEM with or without its lines, CRMF, garbage."""
    lines = [line.strip() for line in text.splitlines() if "-----" not in line]
    try:
        return key_digest(x509.load_der_x509_csr(base64.b64decode("".join(lines))))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        return None


def _certificate(body: dict[str, Any]) -> x509.Certificate:
    pem = _text(body.get("Encoded"), "Encoded")
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        _bad(f"Encoded is no certificate: {printable(str(error))}")


def _bag(text: str) -> list[x509.Certificate]:
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
        return pkcs7.load_der_pkcs7_certificates(der)
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        _bad(f"PKCS7CertChain is no PKCS#7: {printable(str(error))}")


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _parse(answer: Answer) -> object:
    if not answer.is_json:
        _bad(f"{answer.content_type or 'no content type'} instead of JSON: {printable(repr(answer.body[:300]))}")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        _bad(f"not JSON: {printable(str(error))}")


def _object(value: object, what: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _bad(f"{what} is no object")


def _list(value: object, what: str) -> list[Any]:
    return value if isinstance(value, list) else _bad(f"{what} is no list")


def _text(value: object, what: str) -> str:
    return value if isinstance(value, str) and value else _bad(f"{what} is missing or no text")


def _optional_text(value: object, what: str) -> str:
    return "" if value is None or value == "" else _text(value, what)


def _bad(cause: str) -> NoReturn:
    raise AuthorityError(
        Kind.BAD_ANSWER,
        "The CA gave an answer that cannot be understood: try again later and, if it stays so, tell the administrator.",
        cause,
    )
