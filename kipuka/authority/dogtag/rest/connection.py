"""Connections to a CA on which a request is not written before the TLS handshake is over.

Twisted hands a TLS connection out as soon as TCP is up and buffers what is written. A refused certificate would then
look like a lost answer. With the handshake awaited here, every failure before it is a failure to connect: nothing was
sent, and the request may go elsewhere. Every failure after it may mean that the CA has acted.

An answer's header is bounded here, too: Twisted's parser takes any number of lines, and hands out nothing before the
last. Of the body whoever reads it takes as much as he wants.

That the CA refuses connections means to a pool that its process is gone, so it is said of all addresses of a name only.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import (
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import directlyProvides, implementer, providedBy

HEADER_LIMIT = 64 * 1024
"""Bytes of an answer before its body, and what comes in the same piece. Tomcat writes 8 KB at most."""


class HeaderTooLongError(Exception):
    """Why a connection was closed in the middle of an answer's header."""


@implementer(IAgentEndpointFactory)
class TLSEndpoints:
    """Makes the endpoints of an HTTP agent: https only, and the handshake first.

    :param connect_timeout: seconds for TCP; the handshake is bounded by whoever waits for the connection.
    """

    def __init__(self, reactor: IReactorPluggableNameResolver, policy: IPolicyForHTTPS, connect_timeout: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._connect_timeout = connect_timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint for a URI (Twisted's interface)."""
        if uri.scheme != b"https":
            raise SchemeNotSupported(f"a CA is reached over https, not {uri.scheme!r}")
        tcp = EveryAddress(self._reactor, uri.host.decode("ascii"), uri.port, self._connect_timeout)
        creator = self._policy.creatorForNetloc(uri.host, uri.port)
        return HandshakeFirst(wrapClientTLS(creator, tcp))


@implementer(IStreamClientEndpoint)
class EveryAddress:
    """A host's endpoint that fails as refused only if each of its addresses refused.

    Twisted's tells what the last one said, and that says nothing of a process that listens at another.
    """

    def __init__(self, reactor: IReactorPluggableNameResolver, host: str, port: int, timeout: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface
        """Connect to the address that answers first; the Deferred fails when none does."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tries = _Tries(self._reactor)
        try:
            return await HostnameEndpoint(tries, self._host, self._port, timeout=self._timeout).connect(factory)
        except Refused:
            for failure in tries.failures:
                if not failure.check(Refused):
                    failure.raiseException()
            raise


class _Tries:
    """The reactor, as one connection uses it; remembers why each address failed."""

    def __init__(self, reactor: IReactorPluggableNameResolver) -> None:
        self._reactor: Any = reactor
        self.failures: list[Failure] = []
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, port: int, factory: Any, **options: Any) -> Any:
        return self._reactor.connectTCP(host, port, _Noting(factory, self.failures), **options)


class _Noting:
    """A factory, with a note of why its connection failed."""

    def __init__(self, factory: Any, failures: list[Failure]) -> None:
        self._factory = factory
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._failures.append(reason)
        self._factory.clientConnectionFailed(connector, reason)


@implementer(IStreamClientEndpoint)
class HandshakeFirst:
    """An endpoint that is connected when the TLS handshake is over."""

    def __init__(self, tls: IStreamClientEndpoint) -> None:
        self._tls = tls

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's interface
        """Connect and shake hands; the Deferred fails when either does."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        gates = _Gates(factory)
        gate: Any = await self._tls.connect(gates)
        try:
            await gates.handshake
        except BaseException:
            gate.abortConnection()
            raise
        protocol: IProtocol = gate.wrappedProtocol
        return protocol


@implementer(IHandshakeListener)
class _Gate(ProtocolWrapper):
    _left: float = math.inf
    """How much may still come of a header. It ends where the parser pauses, until somebody wants the body."""

    def handshakeCompleted(self) -> None:
        self.factory.handshake.callback(None)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._left = HEADER_LIMIT  # a request begins
        super().writeSequence(data)

    def pauseProducing(self) -> None:
        self._left = math.inf
        cast("IPushProducer", self.transport).pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        super().dataReceived(data)
        if self._left < 0:
            self.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._left < 0:
            reason = Failure(HeaderTooLongError(f"the header of the answer has more than {HEADER_LIMIT} bytes"))
        handshake = self.factory.handshake
        super().connectionLost(reason)
        if not handshake.called:
            handshake.errback(reason)


class _Gates(WrappingFactory):
    protocol = _Gate
    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        super().__init__(factory)
        setattr(factory, "noisy", False)  # noqa: B010 - or each connection makes two lines in the log
        self.handshake: Deferred[None] = Deferred()
