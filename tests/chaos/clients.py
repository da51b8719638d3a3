"""The devices: each asks, and on any failure asks the same again, until it has its certificate or a refusal."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import http.client
import ssl
import time
from collections.abc import Iterator
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from tests.chaos.journal import Journal, Progress
from tests.chaos.schedule import Plan, Renewal, Schedule
from tests.chaos.site import AUTO, MANUAL, Site
from tests.support import pki
from tests.support.est_device import dial

_PATIENCE = 30.0


@dataclasses.dataclass(frozen=True)
class Result:
    """How one operation of one client ended. Times are seconds."""

    number: int
    operation: str
    key: bytes
    """The public key, SubjectPublicKeyInfo in DER."""
    refusal_expected: bool
    attempts: int
    failures: int
    """Attempts without an answer that HTTP could be read from."""
    seconds: float
    certificate: x509.Certificate | None = None
    refusal: str | None = None
    """Status and text of the 4xx that ended it."""
    trouble: str | None = None
    """Why it ended with neither."""


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    retry_after: float | None
    body: bytes


class Device:
    """One client: a key, a subject, a way to authenticate, and a plan.

    :param run: the beginning of all common names of this run.
    :param port: where kipuka is reached, through the proxy.
    :param limit: seconds after which an operation is given up.
    """

    def __init__(
        self, plan: Plan, schedule: Schedule, site: Site, run: str, port: int, limit: float, journal: Journal
    ) -> None:
        self._plan = plan
        self._schedule = schedule
        self._site = site
        self._name = f"{run}-{plan.number}.kipuka.test"
        self._port = port
        self._limit = limit
        self._journal = journal
        self._folder = site.folder / f"device-{plan.number}"
        self._folder.mkdir()
        label, _ = MANUAL if plan.manual else AUTO
        self._path = f"/.well-known/est/{label}/"

    def run(self, progress: Progress) -> Iterator[Result]:
        """Do what the plan says, one operation after the other, until one ends without a certificate."""
        key = pki.ec_key()
        name = pki.name(f"CN={self._name},O=chaos")
        wanted = _Wanted(key, name, pki.san(self._name))
        credential = self._by_password() if self._plan.by_password else self._by_certificate()
        result = self._until_answered("simpleenroll", wanted, credential, progress)
        yield result
        if self._plan.renewal is Renewal.NONE or result.certificate is None:
            return
        old = result.certificate
        files = pki.Identity(old, key).write(self._folder, "issued")
        alternative = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        new = _Wanted(key if self._plan.renewal is Renewal.SAME_KEY else pki.ec_key(), old.subject, alternative)
        yield self._until_answered("simplereenroll", new, _Credential(self._context(files), {}), progress)

    def _until_answered(self, operation: str, wanted: _Wanted, credential: _Credential, progress: Progress) -> Result:
        started = time.monotonic()
        request = wanted.sign()
        failures = attempt = 0
        result = Result(self._plan.number, operation, wanted.spki, self._plan.refused, 0, 0, 0)
        while True:
            attempt += 1
            dice = self._schedule.dice(self._plan.number, f"{operation}/{attempt}")
            if attempt > 1 and dice.random() < 0.5:
                request = wanted.sign()  # the same request under a new signature, as proof of possession makes it
            answer = self._send(operation, request, credential, _patience(dice))
            failures += answer is None
            result = dataclasses.replace(
                result, attempts=attempt, failures=failures, seconds=time.monotonic() - started
            )
            if answer is not None and answer.status == 200:
                try:
                    return dataclasses.replace(result, certificate=_delivered(answer.body, wanted))
                except ValueError as wrong:
                    return dataclasses.replace(result, trouble=f"answer 200, but {wrong}")
            if answer is not None and 400 <= answer.status < 500 and answer.status not in {408, 429}:
                text = answer.body.decode(errors="replace").strip()
                return dataclasses.replace(result, refusal=f"{answer.status} {text}")
            if result.seconds > self._limit:
                said = "no answer" if answer is None else f"{answer.status}"
                return dataclasses.replace(result, trouble=f"given up after {result.seconds:.0f} s, last: {said}")
            after = None if answer is None else answer.retry_after
            if not progress.pause(dice.uniform(0.1, 1.0) if after is None else min(max(after, 1), 3)):
                return dataclasses.replace(result, trouble="the run was stopped")

    def _send(self, operation: str, request: bytes, credential: _Credential, patience: float) -> _Answer | None:
        """Make one attempt over a TLS connection of its own; None: there was no complete answer."""
        started = time.monotonic()
        connection = http.client.HTTPSConnection("localhost", self._port, timeout=patience)
        try:
            connection.sock = dial(credential.context, self._port, patience)
            body = base64.encodebytes(request)
            headers = {"Content-Type": "application/pkcs10", **credential.headers}
            connection.request("POST", self._path + operation, body, headers)
            response = connection.getresponse()
            after = response.headers.get("Retry-After")
            answer = _Answer(response.status, None if after is None else float(after), response.read())
            said = f"{answer.status}" + ("" if after is None else f", Retry-After {after}")
        except (OSError, http.client.HTTPException) as failure:
            answer, said = None, f"{type(failure).__name__}: {failure}"
        finally:
            connection.close()
        self._journal.note(f"device-{self._plan.number}", f"{operation}: {said} ({time.monotonic() - started:.2f} s)")
        return answer

    def _by_password(self) -> _Credential:
        user = self._site.users[self._plan.number % len(self._site.users)]
        token = base64.b64encode(f"{user}:{self._site.password}".encode()).decode()
        return _Credential(self._context(), {"Authorization": f"Basic {token}"})

    def _by_certificate(self) -> _Credential:
        birth = self._site.maker.client(f"CN=serial {self._plan.number},O=Chaos Device Maker")
        return _Credential(self._context(birth.write(self._folder, "birth")), {})

    def _context(self, files: pki.Files | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._site.trust)
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return context


@dataclasses.dataclass(frozen=True)
class _Credential:
    context: ssl.SSLContext
    headers: dict[str, str] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    key: ec.EllipticCurvePrivateKey = dataclasses.field(repr=False)
    subject: x509.Name
    alternative: x509.SubjectAlternativeName

    @property
    def spki(self) -> bytes:
        return public_key(self.key.public_key())

    def sign(self) -> bytes:
        return pki.csr(self.key, self.subject, self.alternative).public_bytes(Encoding.DER)


def public_key(key: object) -> bytes:
    """Return a public key as SubjectPublicKeyInfo in DER: what certificates are matched by."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _patience(dice: Random) -> float:
    """Seconds without a byte after which a client hangs up: some do so long before kipuka can have answered."""
    return dice.uniform(0.2, 3) if dice.random() < 0.15 else _PATIENCE


def _delivered(body: bytes, wanted: _Wanted) -> x509.Certificate:
    """Return the one certificate of a certs-only answer.

    :raises ValueError: it is not one, or not for this key and name.
    """
    try:
        certificates = load_der_pkcs7_certificates(base64.b64decode(body, validate=False))
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if len(certificates) != 1:
        raise ValueError(f"{len(certificates)} certificates were delivered instead of one")
    if public_key(certificates[0].public_key()) != wanted.spki:
        raise ValueError("the certificate is for another key")
    name = x509.NameOID.COMMON_NAME
    if (
        certificates[0].subject.get_attributes_for_oid(name)[0].value
        != wanted.subject.get_attributes_for_oid(name)[0].value
    ):
        raise ValueError("the certificate is for another name")
    return certificates[0]
