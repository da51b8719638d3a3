"""What the stand-in finds when it is asked about many things: lists of requests, one under review, a search.

As 10.10.2 does it (docs/dogtag-notes.md): a list by a state that has an index pages by request number; every other
one, "pending" above all, is cut off without a word after ``maxResults``, which is 100 unless the caller says more, or
after as many as the directory server gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from kipuka.authority.dogtag.wire import Answer
from tests.support.dogtag import answers as answers

_INDEXED = ("", "complete", "rejected", "canceled")
_CUT_OFF = 100
_PAGE = 20


class Dogtag(Protocol):
    """What is looked through."""

    requests: dict[int, dict[str, Any]]
    csrs: dict[int, x509.CertificateSigningRequest]
    notes: dict[int, str]
    deleted: set[int]
    size_limit: int
    issued: dict[int, x509.Certificate]
    issued_on: dict[int, datetime]
    revoked: set[int]
    ldap_down: bool


class Directory(Protocol):
    """Who may ask."""

    ldap_down: bool


def turned_away(dogtag: Directory, credential: str) -> Answer | None:
    """What a caller is told who is no agent, or whom the server cannot look up."""
    if dogtag.ldap_down or credential not in ("agent", "user", "ra"):
        return answers.HTML_401
    if credential != "agent":
        return answers.error(403, "base.ForbiddenException", "Authorization Error")
    return None


def requests(dogtag: Dogtag, query: Mapping[str, str]) -> Answer:
    """Answer ``GET agent/certrequests``."""
    state, kind = query.get("requestState", ""), query.get("requestType", "")
    found = [
        (number, entry)
        for number, entry in sorted(dogtag.requests.items())
        if state in ("", entry["requestStatus"]) and kind in ("", entry["requestType"])
    ]
    if state not in _INDEXED:
        most = min(int(query.get("maxResults", _CUT_OFF)), dogtag.size_limit)
        return answers.listed([entry for _, entry in found][:most])
    page = [entry for number, entry in found if number >= int(query.get("start", "0"))]
    return answers.listed(page[: int(query.get("pageSize", _PAGE))], total=len(found))


def review(dogtag: Dogtag, text: str) -> Answer:
    """Answer ``GET agent/certrequests/{id}``."""
    if not text.isdecimal():
        return Answer(404, "", b"")
    number = int(text)
    if number not in dogtag.requests:
        return answers.no_request(text)
    if number in dogtag.deleted:
        return answers.stumbled()
    return answers.success(answers.review(dogtag.requests[number], dogtag.csrs[number], dogtag.notes.get(number)))


def search(dogtag: Dogtag, body: bytes, query: Mapping[str, str]) -> Answer:
    """Answer ``POST certs/search``. As at the real one, a criterion without its flag is not looked at."""
    if dogtag.ldap_down:
        return answers.no_ldap()
    criteria = json.loads(body)
    found = [serial for serial in sorted(dogtag.issued) if _matches(dogtag, serial, criteria)]
    start = int(query.get("start", "0"))
    page = found[start : start + int(query.get("size", _PAGE))]
    entries = [
        answers.summary(dogtag.issued[serial], dogtag.issued_on[serial], revoked=serial in dogtag.revoked)
        for serial in page
    ]
    return answers.listed(entries, total=len(found))


def _matches(dogtag: Dogtag, serial: int, criteria: Mapping[str, Any]) -> bool:
    wanted = criteria.get("commonName")
    if criteria.get("subjectInUse") and wanted:
        common = dogtag.issued[serial].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(each.value) for each in common]
        if not any(wanted == name if criteria.get("matchExactly") else wanted in name for name in names):
            return False
    if criteria.get("issuedOnInUse"):
        issued = answers.milliseconds(dogtag.issued_on[serial])
        if not int(criteria.get("issuedOnFrom") or 0) <= issued <= int(criteria.get("issuedOnTo") or issued):
            return False
    if criteria.get("serialNumberRangeInUse"):
        return int(str(criteria["serialFrom"]), 0) <= serial <= int(str(criteria["serialTo"]), 0)
    return True
