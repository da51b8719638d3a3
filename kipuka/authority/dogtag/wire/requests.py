"""Requests in Dogtag's JSON: the forms of profiles, submissions, and how requests stand."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from kipuka.authority.dogtag.wire.answer import (
    Answer,
    bad,
    mapping,
    optional_text,
    parse,
    parse_id,
    printable,
    sequence,
    text,
)
from kipuka.authority.dogtag.wire.certificates import NOT_LOADED, key_digest


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


def template(answer: Answer) -> Template:
    """Read the answer of ``certrequests/profiles/{profile}``."""
    body = mapping(parse(answer), "template")
    inputs = tuple(_input(each) for each in sequence(body.get("Input"), "Input"))
    return Template(text(body.get("ProfileID"), "ProfileID"), inputs)


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
    for field, oid in _SUBJECT_FIELDS.items():
        texts = [each.value for each in subject.get_attributes_for_oid(oid) if isinstance(each.value, str)]
        names = (field,) if oid != NameOID.ORGANIZATIONAL_UNIT_NAME else ("sn_ou", "sn_ou1", "sn_ou2", "sn_ou3")
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
    entries = sequence(mapping(parse(answer), "answer").get("entries"), "entries")
    if len(entries) != 1:
        bad(f"{len(entries)} entries for one request")
    return _request_info(mapping(entries[0], "entries[0]"))


def requested(answer: Answer) -> RequestInfo:
    """Read the answer of ``certrequests/{id}``."""
    return _request_info(mapping(parse(answer), "request"))


def listed(answer: Answer) -> tuple[int, ...]:
    """Read the answer of ``agent/certrequests``: the requests' numbers. There may be tens of thousands."""
    entries = sequence(mapping(parse(answer), "answer").get("entries"), "entries")
    return tuple(parse_id(_request_number(mapping(each, "entries[]"))) for each in entries)


def review(answer: Answer) -> Review:
    """Read the answer of ``agent/certrequests/{id}``, of which the policies are the largest and left unread part."""
    body = mapping(parse(answer), "review")
    inputs = [mapping(each, "Input[]") for each in sequence(body.get("Input") or [], "Input")]
    values = [each for group in inputs for each in sequence(group.get("Attribute") or [], "Attribute")]
    fields = [mapping(each, "Attribute[]") for each in values]
    requests = [each.get("Value") for each in fields if each.get("name") == "cert_request"]
    return Review(
        status=text(body.get("requestStatus"), "requestStatus"),
        notes=printable(optional_text(body.get("requestNotes"), "requestNotes")),
        public_key=_key_of_request(requests[0]) if requests and isinstance(requests[0], str) else None,
    )


def _request_info(entry: dict[str, Any]) -> RequestInfo:
    named = _request_number(entry)
    certificate_id = entry.get("certId")
    return RequestInfo(
        request_id=None if named is None else parse_id(named),
        status=text(entry.get("requestStatus"), "requestStatus"),
        certificate_id=None if certificate_id is None else parse_id(certificate_id),
        succeeded=entry.get("operationResult") == "success",
        error=printable(optional_text(entry.get("errorMessage"), "errorMessage")),
    )


def _request_number(entry: dict[str, Any]) -> object:
    """In 10.x the URL is the only place. Its last part is the id in 11.x too, where the path before it is wrong."""
    url = entry.get("requestURL")
    return (
        entry.get("requestID") or entry.get("requestId") or (url.rpartition("/")[2] if isinstance(url, str) else None)
    )


def _input(value: object) -> Input:
    body = mapping(value, "Input[]")
    names = [mapping(each, "Attribute[]").get("name") for each in sequence(body.get("Attribute"), "Attribute")]
    return Input(
        id=text(body.get("id"), "Input[].id"),
        class_id=optional_text(body.get("ClassID"), "ClassID"),
        name=optional_text(body.get("Name"), "Name"),
        attributes=tuple(text(each, "Attribute[].name") for each in names),
    )


def _key_of_request(text: str) -> str | None:
    """Other submitters send what they like: PEM with or without its lines, CRMF, garbage."""
    lines = [line.strip() for line in text.splitlines() if "-----" not in line]
    try:
        return key_digest(x509.load_der_x509_csr(base64.b64decode("".join(lines))))
    except NOT_LOADED:
        return None
