"""Listening sockets, opened before the daemon detaches: an address that cannot be had must end the start-up."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence

from kipuka.config.model.listen import ListenAddress, SystemdSocket, TcpAddress

_FIRST_SYSTEMD_DESCRIPTOR = 3
_BACKLOG = 1024


class CannotListen(Exception):  # noqa: N818 - what it says is what happened
    """An address cannot be listened on; the text is one line for the operator."""


def open_all(addresses: Sequence[ListenAddress], environ: Mapping[str, str]) -> list[socket.socket]:
    """Open every address, or none.

    :param environ: where systemd names the sockets it hands over (sd_listen_fds(3)).
    :raises CannotListen: for the first that fails; those already open are closed again.
    """
    opened: list[socket.socket] = []
    try:
        for address in addresses:
            if isinstance(address, TcpAddress):
                opened.extend(_tcp(address))
            else:
                opened.extend(_from_systemd(address, environ))
    except CannotListen:
        for each in opened:
            each.close()
        raise
    for each in opened:
        each.setblocking(False)  # noqa: FBT003 - the reactor accepts until there is nothing left to accept
    return opened


def _tcp(address: TcpAddress) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            opened.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(where)
            listening.listen(_BACKLOG)
    except OSError as error:
        for each in opened:
            each.close()
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from None
    return opened


def _from_systemd(address: SystemdSocket, environ: Mapping[str, str]) -> list[socket.socket]:
    """Take over the sockets of this name.

    Twisted drops LISTEN_PID and LISTEN_FDS from the environment when it is imported and leaves the names alone, so that
    the descriptors themselves must show that they are listening sockets.
    """
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    opened: list[socket.socket] = []
    for descriptor, name in enumerate(names, _FIRST_SYSTEMD_DESCRIPTOR):
        if name != address.name:
            continue
        try:
            taken = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
        if taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            opened.append(taken)
        else:
            taken.close()
    if not opened:
        raise CannotListen(f"cannot listen on {address}: systemd hands over no socket of this name")
    return opened
