"""How the stand-in revokes: sessions, nonces and answers of 10.10.2."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography import x509
from twisted.web.http import Request

from kipuka.authority.dogtag.wire import Answer
from tests.support.dogtag import answers as answers
from tests.support.dogtag.lists import turned_away

REVOKED_ON = "1795439483000"
NAMES = {
    "Unspecified": 0,
    "Key_Compromise": 1,
    "CA_Compromise": 2,
    "Affiliation_Changed": 3,
    "Superseded": 4,
    "Cessation_of_Operation": 5,
    "Certificate_Hold": 6,
    "Remove_from_CRL": 8,
    "Privilege_Withdrawn": 9,
    "AA_Compromise": 10,
}


@dataclass
class Book:
    """Reasons by serial number, nonces by session and serial number."""

    reasons: dict[int, int] = field(default_factory=dict)
    nonces: dict[tuple[str, int], int] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(-(2**62)))

    def restart(self) -> None:
        """Forget all sessions, as Tomcat does."""
        self.nonces.clear()


class Dogtag(Protocol):
    issued: dict[int, x509.Certificate]
    revoked: set[int]
    book: Book
    ldap_down: bool

    def _record(self, certificate: x509.Certificate) -> dict[str, Any]: ...


def answer(dogtag: Dogtag, request: Request, path: str, credential: str) -> Answer:
    """Answer ``agent/certs/{id}`` and what is below it."""
    refused = turned_away(dogtag, credential)
    if refused is not None:
        return refused
    session = _session(request)
    text, _, operation = path.removeprefix("/agent/certs/").partition("/")
    serial = int(text, 0)
    if serial not in dogtag.issued:
        name, message = "cert.CertNotFoundException", f"Certificate ID {serial:#x} not found"
        return answers.error(404, name, message, certId=str(serial))
    if not operation:
        nonce = dogtag.book.nonces[session, serial] = next(dogtag.book.numbers)
        return answers.success(dogtag._record(dogtag.issued[serial]) | {"Nonce": nonce})
    if operation == "unrevoke":
        return _unrevoke(dogtag, serial)
    body = json.loads(request.content.read())
    if "Nonce" not in body:
        return answers.error(400, "base.BadRequestException", "Missing nonce.")
    expected = dogtag.book.nonces.get((session, serial))
    if expected is None:
        return answers.error(400, "base.BadRequestException", f"Nonce for cert-revoke {serial} does not exist")
    if expected != body["Nonce"]:
        return answers.error(403, "base.ForbiddenException", f"Invalid nonce: {body['Nonce']}")
    del dogtag.book.nonces[session, serial]
    if body.get("Reason") not in NAMES:
        page = b"<html><head><title>HTTP Status 500</title></head>java.lang.NullPointerException</html>"
        return Answer(500, "text/html;charset=utf-8", page)
    if serial in dogtag.revoked:
        return answers.error(400, "base.BadRequestException", f"certificate #{serial:x} has already been revoked")
    dogtag.revoked.add(serial)
    dogtag.book.reasons[serial] = NAMES[body["Reason"]]
    return answers.success(_entry("revocation", serial=serial))


def _unrevoke(dogtag: Dogtag, serial: int) -> Answer:
    if dogtag.book.reasons.get(serial) != NAMES["Certificate_Hold"]:
        return answers.success(_entry("unrevocation", error="One or more certificates could not be unrevoked"))
    dogtag.revoked.discard(serial)
    del dogtag.book.reasons[serial]
    return answers.success(_entry("unrevocation"))


def _entry(kind: str, *, serial: int | None = None, error: str | None = None) -> dict[str, Any]:
    return answers.request(57, "complete", serial, error) | {
        "requestType": kind,
        "certRequestType": None,
        "operationResult": "success" if error is None else "error",
    }


_sessions = itertools.count()


def _session(request: Request) -> str:
    cookie = request.getCookie(b"JSESSIONID")
    if cookie is not None:
        return bytes(cookie).decode()
    session = f"{next(_sessions):032X}"
    request.addCookie("JSESSIONID", session, path="/ca", secure=True, httpOnly=True)
    return session
