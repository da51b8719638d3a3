"""Where a syslog daemon is: ``local``, ``udp:host:port`` and ``tcp:host:port``."""

from __future__ import annotations

from dataclasses import dataclass

from kipuka.config.model import listen

EXPECTED = '"local", or an address like "udp:loghost.example.com:514" or "tcp:loghost.example.com:514"'


@dataclass(frozen=True)
class SyslogAddress:
    """A syslog daemon.

    :param transport: "local" for this machine's, "udp" or "tcp".
    :param host: a host name or an IP address, IPv6 without brackets; empty for "local".
    """

    transport: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return "local" if self.transport == "local" else f"{self.transport}:{listen.TcpAddress(self.host, self.port)}"


def parse(text: str) -> SyslogAddress:
    """Read one address.

    :raises ValueError: with what is wrong and how to write it.
    """
    if text == "local":
        return SyslogAddress("local")
    transport, _, where = text.partition(":")
    if transport not in {"udp", "tcp"}:
        raise ValueError(f'expected {EXPECTED}, found "{text}"')
    address = listen.parse(where)
    if not isinstance(address, listen.TcpAddress) or address.port == 0:
        raise ValueError(f'expected {EXPECTED}, found "{text}"')
    return SyslogAddress(transport, address.host, address.port)
