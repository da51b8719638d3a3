"""Addresses to listen on: ``host:port``, ``[IPv6]:port`` and ``systemd:NAME``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?!.*[^.]{64})"
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_SOCKET_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]{1,255}")  # FileDescriptorName= of systemd.socket(5): no colon


@dataclass(frozen=True)
class TcpAddress:
    """A TCP address.

    :param host: a host name or an IP address, IPv6 without brackets.
    :param port: 0 lets the system choose a free port.
    """

    host: str
    port: int

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address, not a name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class SystemdSocket:
    """A listening socket that systemd opened and hands over.

    :param name: its ``FileDescriptorName=``.
    """

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"


ListenAddress = TcpAddress | SystemdSocket


def parse(text: str) -> ListenAddress:
    """Read one address.

    :raises ValueError: with what is wrong and how to write it.
    """
    if text.startswith("systemd:"):
        name = text.removeprefix("systemd:")
        if not _SOCKET_NAME.fullmatch(name):
            raise ValueError('expected "systemd:NAME", NAME being the FileDescriptorName= of the socket unit')
        return SystemdSocket(name)
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f'expected "host:port" with a port from 0 to 65535, found "{text}"')
    if ":" in host and not host.startswith("["):
        raise ValueError(f'an IPv6 address stands in brackets: "[{host}]:{port}"')
    if not host:
        raise ValueError(
            f'the address is missing: "0.0.0.0:{port}" listens on all of IPv4, "[::]:{port}" on all of IPv6'
        )
    return TcpAddress(parse_host(host), int(port))


def parse_host(text: str) -> str:
    """Read what stands before the port: a host name, an IPv4 address, or an IPv6 address in brackets.

    :returns: IPv6 without brackets.
    :raises ValueError: with what is wrong and how to write it.
    """
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f'"{text[1:-1]}" is not an IPv6 address') from None
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError(f'"{text}" is not an IPv4 address') from None
    if not text.isascii():
        raise ValueError(f'"{text}" is not a host name: write it in ASCII, as xn--...')
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(f'"{text}" is not a host name')
    return text
