"""A device that enrolls over real TLS, as clumsily as the test wants it.

    device = Device(port, trust, "CN=device-1", user=("alice", "secret"))
    device.ask()                        # Answer(status=202, ...)
    waiting = device.asking()           # the same in a thread: a Future
    device.hang_up_after(0.5)           # asks and goes away

Every request is a TLS connection of its own and a new signature under the device's one key.
"""

from __future__ import annotations

import base64
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from tests.support import pki

_PATIENCE = 60.0
_THREADS = 64


@dataclass(frozen=True)
class Answer:
    """What came back. ``seconds`` is how long it took from the connection on; ``at`` is when it was complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    at: float

    @property
    def certificate(self) -> x509.Certificate:
        """The one certificate of a 200."""
        assert self.status == 200, (self.status, self.body)
        (certificate,) = load_der_pkcs7_certificates(base64.b64decode(self.body))
        return certificate

    @property
    def retry_after(self) -> int:
        """Seconds; a date would be an error."""
        return int(self.headers["retry-after"])


class Device:
    """One client.

    :param trust: whom it trusts, PEM.
    :param user: name and password for HTTP Basic.
    :param files: its TLS client certificate.
    :param key: several devices with one key are the same device in other clothes.
    :param patience: seconds it waits for a byte.
    """

    _pool = ThreadPoolExecutor(_THREADS)

    def __init__(
        self,
        port: int,
        trust: Path,
        subject: str = "CN=device-1",
        *,
        user: tuple[str, str] | None = None,
        files: pki.Files | None = None,
        key: pki.PrivateKey | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._patience = patience
        self.key = key or pki.ec_key()
        self._port = port
        self._subject = subject
        self._context = ssl.create_default_context(cafile=trust)
        if files is not None:
            self._context.load_cert_chain(files.certificate, files.key)
        self._authorization = ""
        if user is not None:
            self._authorization = f"Authorization: Basic {base64.b64encode(':'.join(user).encode()).decode()}\r\n"

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo, DER: what its certificates are known by."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def certificates(self, issued: list[x509.Certificate]) -> list[x509.Certificate]:
        """Those that are for this device's key."""
        spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return [each for each in issued if each.public_key().public_bytes(*spki) == self.public_key]

    def ask(self, path: str = "simpleenroll") -> Answer:
        """Enroll, and read the answer to the end.

        :param path: below ``/.well-known/est/``: label and operation.
        """
        return self._exchange(self._request(path))

    def fetch(self, path: str = "cacerts") -> Answer:
        """GET something, and read the answer to the end."""
        head = f"GET /.well-known/est/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        return self._exchange(head.encode("ascii"))

    def _exchange(self, request: bytes) -> Answer:
        started = time.monotonic()
        with self._connect() as connection:
            connection.sendall(request)
            text = _read(connection, lambda data: not data)
        now = time.monotonic()
        head, _, body = text.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        assert len(body) == int(headers["content-length"]), "the answer was cut short"
        return Answer(int(status.split(" ")[1]), headers, body, now - started, now)

    def asking(self, path: str = "simpleenroll") -> Future[Answer]:
        """Enroll in a thread."""
        return self._pool.submit(self.ask, path)

    def hang_up(self, path: str = "simpleenroll", *, when: Callable[[], object]) -> None:
        """Enroll, wait for ``when`` to return, and be gone without a word (TCP RST)."""
        with self._connect() as connection:
            connection.sendall(self._request(path))
            when()
            _reset(connection)

    def read_only(self, number: int, path: str = "simpleenroll") -> bytes:
        """Enroll, read so many bytes of the answer, and be gone."""
        with self._connect() as connection:
            connection.sendall(self._request(path))
            text = connection.recv(number)
            _reset(connection)
        return text

    def _request(self, path: str) -> bytes:
        csr = pki.csr(self.key, self._subject)
        body = base64.encodebytes(csr.public_bytes(Encoding.DER))
        head = (
            f"POST /.well-known/est/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/pkcs10\r\nContent-Length: {len(body)}\r\n{self._authorization}\r\n"
        )
        return head.encode("ascii") + body

    def _connect(self) -> ssl.SSLSocket:
        return dial(self._context, self._port, self._patience)


def dial(context: ssl.SSLContext, port: int, timeout: float) -> ssl.SSLSocket:
    """Connect to a port of this machine.

    The socket is wrapped before it is connected: ssl leaks one that is reset before it can be wrapped.
    """
    connection = context.wrap_socket(socket.socket(), server_hostname="localhost")
    try:
        connection.settimeout(timeout)
        connection.connect(("127.0.0.1", port))
    except BaseException:
        connection.close()
        raise
    return connection


def _read(connection: ssl.SSLSocket, enough: Callable[[bytes], bool]) -> bytes:
    text = b""
    while not enough(data := connection.recv(65536)):
        text += data
    return text


def _reset(connection: ssl.SSLSocket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
