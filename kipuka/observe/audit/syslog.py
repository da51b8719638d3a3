"""Audit records to a syslog daemon: of this machine, or over the network in the form of RFC 5424.

What is sent is not confirmed by anybody: UDP loses records silently, and TCP those that were under way when the
connection broke.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from kipuka.observe.audit.file import AuditUnavailable

_PRIORITY = 10 * 8 + 5
"""Facility authpriv, severity notice (RFC 5424 §6.2.1)."""
_NAME = "kipuka"
_MESSAGE_ID = "audit"
_SECONDS = 5.0
DEVICE = "/dev/log"


class Syslog:
    """Sends lines. Blocking for a few seconds at most; one thread at a time.

    :param transport: "local", "udp" or "tcp"; host and port count for the other two only.
    :param node: this machine's name.
    """

    def __init__(self, transport: str, host: str, port: int, node: str) -> None:
        self._transport, self._host, self._port = transport, host, port
        self._node = node
        self._socket: socket.socket | None = None

    def send(self, lines: Sequence[str], now: datetime) -> None:
        """Send lines, each as a message of its own.

        :raises AuditUnavailable: some of them may have been sent all the same.
        """
        try:
            if self._socket is None:
                self._socket = self._connected()
            for line in lines:
                self._socket.sendall(self._message(line, now))
        except OSError as error:
            self.close()
            raise AuditUnavailable(f"syslog ({self._where()}) cannot be reached: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the connection; the next line opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _where(self) -> str:
        return DEVICE if self._transport == "local" else f"{self._transport}:{self._host}:{self._port}"

    def _connected(self) -> socket.socket:
        if self._transport == "tcp":
            return socket.create_connection((self._host, self._port), _SECONDS)
        if self._transport == "local":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            address: Any = DEVICE
        else:
            family, kind, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            made = socket.socket(family, kind)
        try:
            made.settimeout(_SECONDS)
            made.connect(address)
        except BaseException:
            made.close()
            raise
        return made

    def _message(self, line: str, now: datetime) -> bytes:
        if self._transport == "local":
            # What syslog(3) sends and journald understands; both know the time and the machine.
            return f"<{_PRIORITY}>{_NAME}[{os.getpid()}]: {line}".encode("ascii")
        header = f"<{_PRIORITY}>1 {now.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {_host(self._node)}"
        message = f"{header} {_NAME} {os.getpid()} {_MESSAGE_ID} - {line}".encode("ascii")
        # Octet counting (RFC 6587 §3.4.1): the only framing of the two that cannot be confused.
        return b"%d %s" % (len(message), message) if self._transport == "tcp" else message


def _host(name: str) -> str:
    """The machine's name as RFC 5424 §6.2.4 takes it."""
    return "".join(mark if "!" <= mark <= "~" else "?" for mark in name)[:255] or "-"
