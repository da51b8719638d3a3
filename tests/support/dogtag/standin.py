"""A small Dogtag in memory, for unit tests: what 10.10.2 answers on the paths kipuka uses, and faults on cue.

    dogtag = StandIn()
    authority = dogtag.authority()                # a DogtagAuthority whose requests never leave the process
    dogtag.answer_next(Answer(503, "text/html", b"..."))
    dogtag.calls                                  # [("POST", "/ca/rest/certrequests"), ...]

It is held to the recorded answers of a real one by tests/unit/authority/dogtag/test_contract.py.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.rest.paths import Paths
from kipuka.authority.dogtag.wire import Answer
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag import lists as dogtag_lists
from tests.support.dogtag import revocation as dogtag_revocation
from tests.support.dogtag.answers import HTML_404, JSON, URL
from tests.support.dogtag.profiles import SUBJECT, Profile, profiles

T = TypeVar("T")


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine comes to without any waiting."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "still waiting"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@dataclass
class StandIn:
    """The server's state. Set ``ldap_down``, ``prefixes`` or ``profiles`` to change what it does.

    :ivar size_limit: how many entries its directory server gives in one search.
    :ivar bodies: the JSON bodies that were posted.
    :ivar observed: what the CA told of its calls: operation, outcome, seconds.
    :ivar issued: every certificate, by serial number; ``revoked`` holds the numbers withdrawn, ``book`` why.
    :ivar requests: how each request stands, by number; its CSR is in ``csrs``, what agents wrote in ``notes``.
        The profiles of those in ``deleted`` were deleted since.
    """

    prefixes: tuple[str, ...] = ("/ca/rest",)
    issuer: pki.Issuer = field(default_factory=lambda: pki.root("CN=Stand-In CA,O=EXAMPLE"))
    profiles: dict[str, Profile] = field(default_factory=profiles)
    ldap_down: bool = False
    size_limit: int = 100_000
    calls: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    issued: dict[int, x509.Certificate] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    book: dogtag_revocation.Book = field(default_factory=dogtag_revocation.Book)
    issued_on: dict[int, datetime] = field(default_factory=dict)
    requests: dict[int, dict[str, Any]] = field(default_factory=dict)
    csrs: dict[int, x509.CertificateSigningRequest] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    clock: Clock = field(default_factory=Clock)
    observed: list[tuple[str, str, float]] = field(default_factory=list)
    _faults: deque[Callable[[Request], bytes | int] | None] = field(default_factory=deque)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(16))

    def __post_init__(self) -> None:
        ca = self.issuer.certificate
        self.issued[ca.serial_number] = ca
        self.issued_on[ca.serial_number] = ca.not_valid_before_utc

    def authority(self, credential: str = "agent", *, paths: dict[str, str] | None = None) -> DogtagAuthority:
        """Return the CA as kipuka sees it, over a connection that shows the credential's certificate."""
        client = Client(URL, self.agent(credential), self.clock)

        def observe(operation: str, outcome: str, seconds: float) -> None:
            self.observed.append((operation, outcome, seconds))

        return DogtagAuthority("dogtag", client, "kipukaServer", clock=self.clock, paths=Paths(paths), observe=observe)

    def agent(self, credential: str = "agent") -> RequestTraversalAgent:
        """Return an HTTP agent: "agent" is a CA agent, "user" and "ra" are known, "stranger" and "none" are not."""
        return RequestTraversalAgent(_Server(self, credential))

    def answer_next(self, answer: Answer, after: int = 0) -> None:
        """Answer so to the next request, or to the one after that many others, without doing anything."""
        self._plan(after, lambda request: send(request, answer))

    def lose_next(self, after: int = 0) -> None:
        """Do what the request asks, then close the connection instead of answering."""
        self._plan(after, self._lose)

    def hang_next(self, after: int = 0) -> None:
        """Never answer."""
        self._plan(after, lambda _: NOT_DONE_YET)

    def approve(self, number: int) -> None:
        """Do as an agent does."""
        csr = self.csrs[number]
        self._finish(number, "complete", self._issue(csr.subject, csr.public_key(), csr))

    def reject(self, number: int, notes: str = "", status: str = "rejected") -> None:
        """Refuse, or with the status "canceled" cancel, as an agent does. Only agents are shown the notes."""
        self._finish(number, status)
        self.notes[number] = notes

    def _finish(self, number: int, status: str, certificate: int | None = None) -> None:
        if self.requests[number]["requestStatus"] != "pending":
            raise ValueError(f"request {number} is not pending")
        self.requests[number] = answers.request(number, status, certificate)

    def _plan(self, after: int, fault: Callable[[Request], bytes | int]) -> None:
        self._faults.extend([None] * (after - len(self._faults)))
        self._faults.append(fault)

    def _lose(self, request: Request) -> int:
        self._answer(request, "agent")
        request.transport.loseConnection()
        return NOT_DONE_YET

    def handle(self, request: Request, credential: str) -> bytes | int:
        """Answer one request."""
        self.calls.append((request.method.decode(), request.uri.decode()))
        fault = self._faults.popleft() if self._faults else None
        return fault(request) if fault else send(request, self._answer(request, credential))

    def _answer(self, request: Request, credential: str) -> Answer:
        uri = request.uri.decode()
        prefix = next((each for each in self.prefixes if uri.startswith(each + "/")), None)
        if prefix is None:
            return HTML_404
        path, _, text = uri.removeprefix(prefix).partition("?")
        query = dict(parse_qsl(text))
        if path == "/config/cert/signing":
            return answers.success(self._record(self.issuer.certificate) | {"Status": None})
        if path.startswith("/certrequests/profiles/"):
            return self._template(path.rpartition("/")[2])
        if path.startswith("/agent/certrequests"):
            return dogtag_lists.turned_away(self, credential) or (
                dogtag_lists.requests(self, query)
                if path == "/agent/certrequests"
                else dogtag_lists.review(self, path.rpartition("/")[2])
            )
        if path.startswith("/agent/certs/"):
            return dogtag_revocation.answer(self, request, path, credential)
        if path == "/certs/search":
            return dogtag_lists.search(self, request.content.read(), query)
        if path.startswith("/certs/"):
            return self._certificate(path.rpartition("/")[2])
        if path.startswith("/certrequests/"):
            return self._request(path.rpartition("/")[2])
        if path == "/certrequests":
            if request.method != b"POST":
                return Answer(405, "", b"")
            if request.getHeader("content-type") != JSON:
                return Answer(415, "", b"")
            return self._enroll(request.content.read(), credential)
        return Answer(404, "", b"")

    def _template(self, name: str) -> Answer:
        if name not in self.profiles:
            text = f"Unable to get enrollment template for {name}: Profile not found"
            return answers.error(400, "base.BadRequestException", text)
        profile = self.profiles[name]
        return answers.success(answers.template(name, profile.inputs, renewal=profile.renewal))

    def _certificate(self, text: str) -> Answer:
        try:
            serial = int(text, 16 if text.startswith("0x") else 10)
        except ValueError:
            return Answer(404, "", b"")
        if self.ldap_down:
            return answers.no_ldap()
        if serial not in self.issued:
            message = f"Certificate ID {serial:#x} not found"
            return answers.error(404, "cert.CertNotFoundException", message, certId=str(serial))
        return answers.success(self._record(self.issued[serial]))

    def _request(self, text: str) -> Answer:
        if not text.isdecimal():
            return Answer(404, "", b"")
        if self.ldap_down or int(text) not in self.requests:
            return answers.no_request(text)
        return answers.success(self.requests[int(text)])

    def _enroll(self, raw: bytes, credential: str) -> Answer:
        body = json.loads(raw)
        self.bodies.append(body)
        name = body.get("ProfileID", "null")
        profile = self.profiles.get(name)
        if profile is None:
            return answers.error(400, "base.BadRequestException", f"Bad request data: Profile {name} Not Found")
        if not profile.enabled:
            return answers.error(400, "base.BadRequestException", f"Bad request data: Profile {name} not enabled")
        if profile.agent and (self.ldap_down or credential in ("stranger", "kra-agent", "none")):
            return answers.error(401, "base.UnauthorizedException", "Authentication failed: Invalid Credential.")
        if profile.agent and credential != "agent":
            return answers.error(401, "base.UnauthorizedException", "Authentication failed: Authorization Error")
        values = {each["name"]: each["Value"] for group in body["Input"] for each in group["Attribute"]}
        try:
            csr = _csr(values)
            key = csr.public_key()
        except ValueError:
            return answers.error(500, "base.PKIException", "Unable to create enrollment request: Invalid Request")
        subject = csr.subject
        if SUBJECT in profile.inputs:
            subject = _subject(values)
            if not list(subject):
                return answers.error(
                    500, "base.PKIException", "Unable to create enrollment request: Subject Name Not Found"
                )
        if reason := profile.constraint(csr):
            return self._entry("rejected", csr, error=reason)
        if not profile.agent:
            return self._entry("pending", csr)
        return self._entry("complete", csr, certificate=self._issue(subject, key, csr))

    def _issue(self, subject: x509.Name, key: Any, csr: x509.CertificateSigningRequest) -> int:
        serial = next(self._numbers)
        names = [each for each in csr.extensions if each.oid == x509.SubjectAlternativeName.oid]
        extensions = [(each.value, each.critical) for each in names]
        self.issued[serial] = _certify(self.issuer, key, subject, extensions, serial)
        self.issued_on[serial] = datetime.now(UTC)
        return serial

    def _entry(
        self,
        status: str,
        csr: x509.CertificateSigningRequest,
        certificate: int | None = None,
        error: str | None = None,
    ) -> Answer:
        number = next(self._numbers)
        entry = answers.request(number, status, certificate, error)
        if not self.ldap_down:  # else it looks the same and is stored nowhere
            self.requests[number] = entry
            self.csrs[number] = csr
        return answers.listed([entry])

    def _record(self, certificate: x509.Certificate) -> dict[str, Any]:
        serial = certificate.serial_number
        record = answers.certificate(certificate, self.issuer.certificate, revoked=serial in self.revoked)
        if serial in self.book.reasons:
            record |= {"RevokedOn": dogtag_revocation.REVOKED_ON, "RevocationReason": self.book.reasons[serial]}
        return record


class _Server(Resource):
    isLeaf = True  # noqa: N815 - Twisted's

    def __init__(self, dogtag: StandIn, credential: str) -> None:
        super().__init__()
        self._dogtag = dogtag
        self._credential = credential

    def render(self, request: Request) -> bytes | int:
        return self._dogtag.handle(request, self._credential)


def send(request: Request, answer: Answer) -> bytes:
    """Return the body of the answer, its head set on the request."""
    request.setResponseCode(answer.status)
    request.setHeader("content-type", answer.content_type)
    if not answer.content_type:
        request.responseHeaders.removeHeader("content-type")
        request.defaultContentType = None  # type: ignore[attr-defined]
    return answer.body


def _csr(values: dict[str, str]) -> x509.CertificateSigningRequest:
    csr = x509.load_der_x509_csr(base64.b64decode(values["cert_request"]))
    if values["cert_request_type"] != "pkcs10" or not csr.is_signature_valid:
        raise ValueError(values["cert_request_type"])
    return csr


def _subject(values: dict[str, str]) -> x509.Name:
    oids = {"sn_uid": NameOID.USER_ID, "sn_cn": NameOID.COMMON_NAME, "sn_o": NameOID.ORGANIZATION_NAME}
    return x509.Name([x509.NameAttribute(oid, values[name]) for name, oid in oids.items() if values.get(name)])


def _certify(
    issuer: pki.Issuer, key: Any, subject: x509.Name, extensions: list[tuple[x509.ExtensionType, bool]], serial: int
) -> x509.Certificate:
    builder = x509.CertificateBuilder(issuer.certificate.subject, subject, key, serial)
    begin = datetime.now(UTC).replace(microsecond=0)
    builder = builder.not_valid_before(begin).not_valid_after(issuer.certificate.not_valid_after_utc)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    return builder.sign(issuer.key, pki._hash(issuer.key))
