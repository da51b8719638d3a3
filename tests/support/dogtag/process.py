"""The server's side of tests/support/dogtag/server.py: the stand-in Dogtag on a socket, told what to do on stdin.

    python -m tests.support.dogtag.process FOLDER PORT

Every line on stdin is a command, ``["approve", [16, 17]]``; its result is a line of JSON on stdout. What the server
has in its books is appended to FOLDER/journal, from which the next process goes on after a kill -9. The end of stdin
ends the process.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet import reactor, stdio
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.protocols.basic import LineOnlyReceiver
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from kipuka.authority.dogtag.wire import Answer
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag.standin import StandIn, send

_KEEP_ALIVE = 300
_NUMBER = re.compile(r"/(0x[0-9a-f]+|\d+)$")


class Served(StandIn):
    """A stand-in that writes its books to disk, notes when it was called, and has faults for calls of one kind.

    :param journal: read first, then appended to.
    :param peers: the journals of its clones, which it reads on as they grow: that is replication.
    :param first: its serial and request numbers begin here.
    """

    def __init__(self, issuer: pki.Issuer, journal: Path, peers: Sequence[Path] = (), first: int = 16) -> None:
        super().__init__(issuer=issuer)
        self.moments: defaultdict[str, list[float]] = defaultdict(list)
        self._on_cue: list[tuple[str, Callable[[Request, str], bytes | int]]] = []
        lines = journal.read_text().splitlines() if journal.exists() else []
        for line in lines:
            self._replay(*json.loads(line))
        self._numbers = itertools.count(max([first - 1, *self.requests, *(self.issued.keys() - {self._ca_serial})]) + 1)
        self._journal = journal.open("a", buffering=1)
        for peer in peers:
            peer.touch()
        self._peers = [peer.open() for peer in peers]

    @property
    def _ca_serial(self) -> int:
        return self.issuer.certificate.serial_number

    def handle(self, request: Request, credential: str) -> bytes | int:
        """Answer one request, or do what is on for it."""
        self.replicate()
        method, uri = request.method.decode(), request.uri.decode()
        call = f"{method} {_NUMBER.sub(self._kind, uri.partition('?')[0])}"
        self.moments[call].append(time.monotonic())
        for position, (cue, fault) in enumerate(self._on_cue):
            if cue == call:
                del self._on_cue[position]
                return fault(request, credential)
        return send(request, self._answer(request, credential))

    def _kind(self, number: re.Match[str]) -> str:
        """What counts and faults call a number: probes come when they like and are told from other look-ups."""
        return "/{ca}" if int(number[1], 0) == self._ca_serial else "/{id}"

    def replicate(self) -> None:
        """Learn what the clones have done."""
        for peer in self._peers:
            while (line := peer.readline()).endswith("\n"):
                self._replay(*json.loads(line))
            peer.seek(peer.tell() - len(line.encode()))

    # What parents may ask for: every public method below, with JSON for arguments and result.

    def fault(self, kind: str, call: str, times: int) -> None:
        """See :meth:`tests.support.dogtag.server.DogtagServer.fault`."""
        self._on_cue += [(call, getattr(self, f"_{kind}"))] * times

    def set_ldap_down(self, *, down: bool) -> None:
        self.ldap_down = down

    def decide(self, numbers: list[int] | None, notes: str | None) -> int:
        """Approve, or refuse when there are notes; None stands for all that is pending."""
        wanted = self.numbers("pending") if numbers is None else numbers
        for number in wanted:
            self.approve(number) if notes is None else self.reject(number, notes)
            self._write_request(number)
        return len(wanted)

    def numbers(self, status: str) -> list[int]:
        return [number for number, entry in self.requests.items() if entry["requestStatus"] == status]

    def fill(self, number: int) -> list[int]:
        """Have so many requests pending that somebody else made."""
        csr = pki.csr(pki.ec_key(), "CN=somebody else")
        before = len(self.requests)
        for _ in range(number):
            self._entry("pending", csr)
        return list(self.requests)[before:]

    def calls_by_kind(self) -> dict[str, list[float]]:
        return self.moments

    def certificates(self) -> list[str]:
        """All but the CA's own, as base64 of DER, oldest first."""
        return [_base64(each) for serial, each in self.issued.items() if serial != self._ca_serial]

    # The faults. "done" ones have done what they were asked before they fail.

    def _lose(self, request: Request, credential: str) -> int:
        self._answer(request, credential)
        return _abort(request)

    def _cut(self, request: Request, credential: str) -> int:
        body = send(request, self._answer(request, credential))
        request.setHeader("content-length", str(len(body)))
        request.write(body[: len(body) // 2])
        request.channel.transport.loseConnection()
        return NOT_DONE_YET

    def _hang(self, request: Request, credential: str) -> int:
        self._answer(request, credential)
        return NOT_DONE_YET

    def _drop(self, request: Request, credential: str) -> int:
        return _abort(request)

    def _begin(self, request: Request, credential: str) -> int:
        self._answer(request, credential)
        number = list(self.requests)[-1]
        certificate = self.requests[number]["certId"]
        if certificate is not None:
            del self.issued[int(certificate, 16)]
        self.requests[number] = answers.request(number, "begin")
        self._write_request(number)
        return _abort(request)

    def _ignore(self, request: Request, credential: str) -> int:
        return NOT_DONE_YET

    def _unavailable(self, request: Request, credential: str) -> bytes:
        return send(request, Answer(503, "text/html", b"<html><title>not ready</title></html>"))

    # The books.

    def _issue(self, subject: x509.Name, key: Any, csr: x509.CertificateSigningRequest) -> int:
        serial = super()._issue(subject, key, csr)
        self._write("certificate", _base64(self.issued[serial]), self.issued_on[serial].isoformat())
        return serial

    def _entry(
        self,
        status: str,
        csr: x509.CertificateSigningRequest,
        certificate: int | None = None,
        error: str | None = None,
    ) -> Answer:
        answer = super()._entry(status, csr, certificate, error)
        if not self.ldap_down:
            self._write_request(list(self.requests)[-1])
        return answer

    def _write_request(self, number: int) -> None:
        self._write("request", number, self.requests[number], _base64(self.csrs[number]), self.notes.get(number, ""))

    def _write(self, *entry: object) -> None:
        self._journal.write(json.dumps(entry) + "\n")

    def _replay(self, what: str, *entry: Any) -> None:
        if what == "certificate":
            certificate = x509.load_der_x509_certificate(base64.b64decode(entry[0]))
            self.issued[certificate.serial_number] = certificate
            self.issued_on[certificate.serial_number] = datetime.fromisoformat(entry[1])
        else:
            number, shown, csr, notes = entry
            self.requests[number], self.notes[number] = shown, notes
            self.csrs[number] = x509.load_der_x509_csr(base64.b64decode(csr))


class _Root(Resource):
    isLeaf = True  # noqa: N815 - Twisted's

    def __init__(self, dogtag: Served) -> None:
        super().__init__()
        self._dogtag = dogtag

    def render(self, request: Request) -> bytes | int:
        shown = request.channel.transport.getPeerCertificate()
        credential = "none"
        if shown is not None:
            (name,) = shown.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            credential = str(name.value)
        return self._dogtag.handle(request, credential)


class _Control(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 2**24

    def __init__(self, dogtag: Served) -> None:
        self._dogtag = dogtag

    def connectionMade(self) -> None:
        self._say("ready")

    def lineReceived(self, line: bytes) -> None:
        name, arguments = json.loads(line)
        self._dogtag.replicate()
        try:
            result = {"result": getattr(self._dogtag, name)(**arguments)}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        self._say(result)

    def connectionLost(self, reason: object = None) -> None:
        if reactor.running:
            reactor.stop()

    def _say(self, what: object) -> None:
        self.sendLine(json.dumps(what).encode())


def _abort(request: Request) -> int:
    request.channel.transport.abortConnection()
    return NOT_DONE_YET


def _base64(value: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return base64.b64encode(value.public_bytes(Encoding.DER)).decode()


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    root = x509.load_pem_x509_certificate((folder / "dogtag-ca.pem").read_bytes())
    key = load_pem_private_key((folder / "dogtag-ca-key.pem").read_bytes(), None)
    own = PrivateCertificate.loadPEM(b"".join((folder / f"dogtag{end}.pem").read_bytes() for end in ("", "-key")))
    tls = CertificateOptions(
        privateKey=own.privateKey.original,
        certificate=own.original,
        verify=True,
        requireCertificate=False,
        caCerts=[crypto.X509.from_cryptography(root)],
    )
    peers = [Path(each) / "journal" for each in sys.argv[4:]]
    dogtag = Served(pki.Issuer(root, key), folder / "journal", peers, int(sys.argv[3]))
    site = Site(_Root(dogtag), timeout=_KEEP_ALIVE)
    SSL4ServerEndpoint(reactor, port, tls, backlog=200, interface="127.0.0.1").listen(site)
    reactor.callWhenRunning(stdio.StandardIO, _Control(dogtag))
    reactor.run()


if __name__ == "__main__":
    main()
