"""A client over a real TLS connection that sends exactly the bytes it is told to, and reads answers one by one."""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from OpenSSL import SSL

from tests.support import pki
from tests.web.wire import PLAIN, Answer, message, parse

HOST = "127.0.0.1"
TIMEOUT = 20


class Stream(Protocol):
    def sendall(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...


class Connection:
    """HTTP on an open stream.

    :ivar errors: the media type of errors: EST's, unless a test asks for something else.
    """

    errors = PLAIN

    def __init__(self, stream: Stream) -> None:
        self.stream: Any = stream  # tests know which kind they have made
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """Read the next answer; ConnectionError when the server closes instead."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._more()
        head = self._unread[: end + 4]
        size = len(head)
        for line in head.decode("ascii").split("\r\n"):
            if line.startswith("Content-Length: ") and method != "HEAD":
                size += int(line.partition(": ")[2])
        while len(self._unread) < size:
            self._more()
        (answer,) = parse(self._unread[:size], method, errors=self.errors)
        self._unread = self._unread[size:]
        return answer

    def answers_until_closed(self, method: str = "GET") -> list[Answer]:
        """Read answers until the server closes."""
        answers: list[Answer] = []
        while True:
            try:
                answers.append(self.answer(method))
            except ConnectionError:
                return answers

    def request(self, method: str, path: str, body: bytes | None = None, **fields: str | None) -> Answer:
        self.send(message(method, path, body, **fields))
        return self.answer(method)

    def get(self, path: str, **fields: str | None) -> Answer:
        return self.request("GET", path, **fields)

    def post(self, path: str, body: bytes, **fields: str | None) -> Answer:
        return self.request("POST", path, body, **{"content_type": "application/pkcs10"} | fields)

    def _more(self) -> None:
        try:
            data = self.stream.recv(65536)
        except (SSL.ZeroReturnError, SSL.SysCallError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            data = b""
        if not data:
            raise ConnectionResetError(f"closed by the server after {self._unread!r}")
        self._unread += data


@dataclass(frozen=True)
class Tls:
    """How to connect: the server's port and anchor, and the client's own certificate, if any."""

    port: int
    anchor: Path
    identity: pki.Identity | None = None

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.anchor))
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if self.identity is not None:
            with tempfile.TemporaryDirectory() as folder:
                files = self.identity.write(Path(folder), "client")
                context.load_cert_chain(files.certificate, files.key)
        return context

    @contextmanager
    def connect(
        self, version: ssl.TLSVersion | None = None, context: ssl.SSLContext | None = None
    ) -> Iterator[Connection]:
        """Connect with Python's TLS."""
        plain = socket.create_connection((HOST, self.port), TIMEOUT)
        with plain, (context or self.context(version)).wrap_socket(plain, server_hostname="localhost") as secure:
            yield Connection(secure)

    @contextmanager
    def openssl(self, context: SSL.Context | None = None) -> Iterator[tuple[Connection, SSL.Connection]]:
        """Connect with pyOpenSSL, which has what Python's TLS does not: exporters, renegotiation, any version."""
        context = context or SSL.Context(SSL.TLS_METHOD)
        if self.identity is not None:
            context.use_certificate(self.identity.certificate)
            context.use_privatekey(self.identity.key)
        with socket.create_connection((HOST, self.port), TIMEOUT) as plain:
            plain.settimeout(None)  # pyOpenSSL does not wait otherwise
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT, 0))
            connection = SSL.Connection(context, plain)
            connection.set_tlsext_host_name(b"localhost")
            connection.set_connect_state()
            connection.do_handshake()
            yield Connection(connection), connection
