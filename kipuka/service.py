"""The daemon as a Twisted service: everything is ready before the first connection, and the last one is let finish."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from kipuka.enrollment.desk import Desk
from kipuka.web.http.limits import ConnectionLimit
from kipuka.web.http.site import EstSite

_log = Logger("kipuka")

LEAST = 5.0
"""Seconds for writing down what the CAs say, when the requests in hand have taken all there was."""


class Reactor(IReactorTime, IReactorSocket):
    """What the service needs of a reactor."""


@dataclass(frozen=True)
class Listener:
    """Sockets that are already listening, and what is served on them.

    :param factory: the site, wrapped into TLS and the limit on connections.
    :param purpose: for the log: what a client finds there.
    """

    sockets: Sequence[socket.socket]
    factory: ConnectionLimit
    site: EstSite
    purpose: str = "EST"


Reload = Callable[["EstService"], Coroutine[Deferred[Any], Any, None]]


class EstService(Service):
    """Serves one or more sites.

    :param desk: what is behind the labels: ledger, polling, CAs.
    :param reload: reads the configuration again and has it served.
    :param patience: seconds that requests in hand, and what they left at the CAs, get when the daemon stops.
    """

    def __init__(
        self,
        reactor: Reactor,
        listeners: Sequence[Listener],
        desk: Desk,
        patience: float,
        reload: Reload,
    ) -> None:
        self._reactor = reactor
        self._listeners = list(listeners)
        self._desk = desk
        self.patience = patience
        self._reload = reload
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Open the ledger, then take connections."""
        super().startService()
        self._desk.start()
        for listener in self._listeners:
            for listening in listener.sockets:
                self._adopt(listening, listener)

    def _adopt(self, listening: socket.socket, listener: Listener) -> None:
        port = self._reactor.adoptStreamPort(
            listening.fileno(), listening.family, cast("ServerFactory[Any]", listener.factory)
        )
        listening.close()
        self._ports.append(port)
        address = port.getHost()
        if isinstance(address, IPv4Address | IPv6Address):
            _log.info(
                "serving {purpose} on {host} port {port}",
                purpose=listener.purpose,
                host=address.host,
                port=address.port,
            )

    def reload(self) -> Deferred[None]:
        """Serve what the configuration file says now, if it is good; a daemon that is about to end does not care."""
        if not self.running:
            return succeed(None)
        reloading = Deferred.fromCoroutine(self._reload(self))
        return reloading.addErrback(lambda failure: _log.failure("reloading failed", failure=failure))

    def stopService(self) -> Deferred[None]:
        """Take no more connections, answer whoever waits, finish what is in hand, then close ledger and CAs."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports.clear()
        self._desk.let_go()
        end = self._reactor.seconds() + self.patience
        drained = gatherResults([listener.site.drain() for listener in self._listeners], consumeErrors=True)
        drained.addTimeout(self.patience, self._reactor)
        try:
            await drained
        except Exception:
            _log.warn("requests were still in hand after {seconds} s and were cut off", seconds=self.patience)
        if not await self._within(max(end - self._reactor.seconds(), LEAST), self._desk.close()):
            _log.warn(
                "the CA or the database kept the end waiting: what was submitted is looked up after the next start"
            )

    async def _within(self, seconds: float, work: Coroutine[Deferred[Any], Any, None]) -> bool:
        """Whether it came to its end in time; it is not cancelled, for it may still be writing something down."""
        done: Deferred[None] = Deferred.fromCoroutine(work)
        done.addErrback(lambda failure: _log.failure("the ledger was not closed in order", failure=failure))
        over: Deferred[None] = Deferred()
        alarm = self._reactor.callLater(seconds, over.callback, None)
        await DeferredList([done, over], fireOnOneCallback=True)
        in_time = bool(alarm.active())
        if in_time:
            alarm.cancel()
        return in_time
