"""A client's end of one connection, without a socket: bytes in, answers out, each held to the rules for all answers.

client = Client(site)
answer = client.get("/.well-known/est/cacerts")
client.send(b"GET / HTTP/1.1\\r\\n...")
client.answers()
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from kipuka.web.http.site import EstSite

EST = "/.well-known/est"
PLAIN = "text/plain; charset=utf-8"
MOST_HEADER_BYTES = 1024
MOST_FIELDS = 16


@dataclass(frozen=True)
class Answer:
    """One answer as it went over the wire."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    version: str = "HTTP/1.1"

    def field(self, name: str) -> str | None:
        """The only field of this name, spelled exactly so (libest compares with case)."""
        values = [value for each, value in self.fields if each == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    @property
    def text(self) -> str:
        assert self.field("Content-Type") == "text/plain; charset=utf-8"
        return self.body.decode()


class Session(SSL.Connection):
    """What kipuka asks of a TLS session, without one."""

    def __init__(
        self,
        certificate: x509.Certificate | None = None,
        protocol: str = "TLSv1.3",
        finished: bytes | None = None,
        exported: bytes = b"",
        chain: tuple[x509.Certificate, ...] = (),
    ) -> None:
        self._chain = chain
        self._values = (certificate, protocol, finished, exported)

    def get_peer_certificate(self, *, as_cryptography: bool = False) -> x509.Certificate | None:
        return self._values[0]

    def get_verified_chain(self, *, as_cryptography: bool = False) -> list[x509.Certificate] | None:
        assert as_cryptography
        return list(self._chain) or None

    def get_protocol_version_name(self) -> str:
        return self._values[1]

    def get_cipher_name(self) -> str:
        return "TLS_AES_256_GCM_SHA384"

    def get_peer_finished(self) -> bytes | None:
        return self._values[2]

    def export_keying_material(self, label: bytes, olen: int, context: bytes | None = None) -> bytes:
        assert (label, olen, context) == (b"EXPORTER-Channel-Binding", 32, b"")  # RFC 9266: present and empty
        return self._values[3]


@implementer(ITCPTransport)
class Transport(StringTransport):
    """A transport that counts writes and knows whether it was closed or cut."""

    aborted = False

    def __init__(self, session: Session, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 50000))
        self.session = session
        self.writes: list[bytes] = []

    def getHandle(self) -> Session:
        return self.session

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


class Client:
    """One connection to the site.

    :ivar errors: the media type of errors: EST's, unless a test asks for something else.
    """

    errors = PLAIN

    def __init__(self, site: EstSite, session: Session | None = None, address: str = "192.0.2.7") -> None:
        self.transport = Transport(session or Session(), address)
        protocol = site.buildProtocol(self.transport.getPeer())
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, or begun to."""
        return bool(self.transport.disconnecting)

    def send(self, data: bytes, piece: int = 0) -> None:
        """Send bytes, in pieces of that size when one is given."""
        for start in range(0, len(data), piece) if piece else [0]:
            if not self.closed:
                self.protocol.dataReceived(data[start : start + piece] if piece else data)

    def answers(self, *methods: str) -> list[Answer]:
        """Everything answered since the last call; ``methods`` of the requests, if HEAD is among them."""
        raw = self.transport.value()
        self.transport.clear()
        return parse(raw, *methods, errors=self.errors)

    def request(
        self, method: str, path: str, body: bytes | None = None, version: str = "HTTP/1.1", **fields: str | None
    ) -> Answer:
        """Ask and return the one answer. Fields: ``content_type="..."``; None leaves a usual one out."""
        self.send(message(method, path, body, version, **fields))
        (answer,) = self.answers(method)
        assert answer.version == "HTTP/1.1" or version == "HTTP/1.0"  # T14: strongSwan takes nothing else
        return answer

    def get(self, path: str, **fields: str | None) -> Answer:
        return self.request("GET", path, **fields)

    def post(self, path: str, body: bytes, **fields: str | None) -> Answer:
        return self.request("POST", path, body, **{"content_type": "application/pkcs10"} | fields)

    def hang_up(self, *, clean: bool = True) -> None:
        """The client goes away, or (``clean`` or not) the server's closing is done."""
        self.protocol.connectionLost(Failure(ConnectionDone() if clean else ConnectionLost()))


def message(
    method: str, path: str, body: bytes | None = None, version: str = "HTTP/1.1", **fields: str | None
) -> bytes:
    """One request."""
    usual: dict[str, str | None] = {"host": "est.example"}
    if body is not None:
        usual["content_length"] = str(len(body))
    lines = [f"{method} {path} {version}"]
    for name, value in (usual | fields).items():
        if value is not None:
            lines.append(f"{name.replace('_', '-').title()}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def parse(raw: bytes, *methods: str, errors: str = PLAIN) -> list[Answer]:
    """Read answers one after the other; each must be complete and keep to the rules for all answers."""
    answers: list[Answer] = []
    asked = list(methods)
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        assert end, f"incomplete header block: {head!r}"
        status_line, *lines = head.decode("ascii").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version in {"HTTP/1.1", "HTTP/1.0"}
        fields = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        if status == "100":
            assert not fields
            answers.append(Answer(100, (), b""))
            continue
        names = [name for name, _ in fields]
        assert len(head) + 4 <= MOST_HEADER_BYTES  # ENC-22, T4
        assert len(fields) <= MOST_FIELDS  # T5
        assert "Transfer-Encoding" not in names  # ENC-08, T1
        assert names.count("Date") == 1  # RFC 9110 section 6.6.1
        length = 0
        if status in ("204", "304"):
            assert "Content-Length" not in names  # ENC-21
        else:
            assert names[:2] == ["Content-Type", "Content-Length"]  # T5, T6: spelled so, and first
            assert names.count("Content-Length") == 1
            length = int(dict(fields)["Content-Length"])
            if int(status) >= 400:
                assert dict(fields)["Content-Type"] == errors  # ERR-02
        if asked and asked.pop(0) == "HEAD":
            length = 0
        assert len(raw) >= length, f"{length} bytes were announced and {len(raw)} sent"
        answers.append(Answer(int(status), fields, raw[:length], version))
        raw = raw[length:]
    return answers
