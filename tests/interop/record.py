"""Writes down what the installed clients send, byte for byte: run it as ``python -m tests.interop.record``.

Do so when a client program has a new version, look at what changed in tests/vectors/clients, and put the version into
the README there.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.interop.journey import Device, Password, Server
from tests.interop.programs import ProgramError
from tests.interop.suite import CLIENTS
from tests.support import pki

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "clients"
DEVICE = Device("sensor-1.example.com", "ec")
CHALLENGE = b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm="recorder"\r\n\r\n'
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"


class Handler(socketserver.StreamRequestHandler):
    """Keeps one request; asks for a password first, as a server does, and then has no time."""

    server: Recorder

    def handle(self) -> None:
        lines = list(iter(self.rfile.readline, b"\r\n"))
        fields = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in lines[1:]}
        body = self.rfile.read(int(fields.get(b"content-length", 0)))
        self.server.requests.append(b"".join(lines) + b"\r\n" + body)
        challenge = b"/simpleenroll " in lines[0] and b"authorization" not in fields
        self.wfile.write(CHALLENGE if challenge else BUSY)


class Recorder(socketserver.ThreadingTCPServer):
    """A TLS server on a free port of this machine."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[bytes] = []
        self._context = context

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        return self._context.wrap_socket(plain, server_side=True), address


def main() -> None:
    """Record each client's three operations."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = pki.root("CN=Recorder")
        tls = root.server().write(folder, "tls")
        birth = root.client("CN=serial 4711").write(folder, "birth")
        (folder / "root.pem").write_bytes(pki.pem(root.certificate))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "root.pem"))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(tls.certificate, tls.key)
        with Recorder(context) as recorder:
            threading.Thread(target=recorder.serve_forever, daemon=True).start()
            port = recorder.server_address[1]
            server = Server("localhost", port, folder / "root.pem", Password("installer", "secret"), birth)
            for client in CLIENTS:
                _record(client, server, recorder, folder / client)
            recorder.shutdown()


def _record(name: str, server: Server, recorder: Recorder, folder: Path) -> None:
    folder.mkdir()
    client = CLIENTS[name](server, folder)
    for old in VECTORS.glob(f"{name}-*.http"):
        old.unlink()
    for operation, step in (
        ("cacerts", client.ca_certificates),
        ("simpleenroll", lambda: client.enroll(DEVICE, server.password)),
        ("simplereenroll", lambda: client.renew(DEVICE, server.birth)),
    ):
        recorder.requests.clear()
        with contextlib.suppress(ProgramError):  # it was refused, of course
            step()
        for number, request in enumerate(recorder.requests, start=1):
            (VECTORS / f"{name}-{operation}-{number}.http").write_bytes(request)


if __name__ == "__main__":
    main()
