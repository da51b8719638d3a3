"""HTTP with one CA: kept connections, limits, and an error that tells "not sent" from "answer lost"."""

# mypy: allow-untyped-calls
from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from http.cookiejar import CookieJar
from typing import Any, Self, cast

from twisted.internet import error as failures
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    CookieAgent,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from kipuka import __version__
from kipuka.authority.dogtag.rest.connection import HeaderTooLongError, TLSEndpoints
from kipuka.authority.dogtag.rest.outcome import error
from kipuka.authority.dogtag.wire import Answer
from kipuka.errors import Kind

QUEUE = 16
"""So many requests for each connection may wait for one to be free; those that come then are told so at once."""
BODY_LIMIT = 1024 * 1024
"""Bytes of an answer. A certificate with its chain is 10 KB, the longest form 5 KB."""

# Dogtag closes idle connections after 300 s, a proxy before it sooner. Well under that, kipuka closes first, so that no
# request is written to a connection that is just being closed. After its 100th answer and after each 400 and 500 Dogtag
# closes too, but says so in the answer.
_IDLE = 60
_CONNECT_TIMEOUT = 10.0
_MAYBE_SENT = (ResponseFailed, RequestGenerationFailed, RequestTransmissionFailed)


class Client:
    """Speaks JSON with one server. No redirects are followed, no content decoding is offered.

    :param url: the server's base URL, without a path.
    :param agent: what carries the requests; one connection pool and cookie jar to itself.
    :param timeout: seconds for a request from the wait for a free connection to the last byte of the answer.
    :param max_connections: how many requests are in flight at once; of the others, 16 times as many wait.
    :param close: gives the connections back.
    """

    def __init__(
        self,
        url: str,
        agent: IAgent,
        clock: IReactorTime,
        *,
        timeout: float = 30.0,
        max_connections: int = 8,
        close: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._connections = agent
        self._agent = CookieAgent(agent, _Cookies())
        self._clock = clock
        self.timeout = timeout
        self._free = DeferredSemaphore(max_connections)
        self._most_waiting = QUEUE * max_connections
        self._close = close

    @classmethod
    def open(
        cls, reactor: Any, url: str, policy: IPolicyForHTTPS, *, timeout: float = 30.0, max_connections: int = 8
    ) -> Self:
        """Return a client over a connection pool of its own."""
        pool = HTTPConnectionPool(reactor, persistent=True)
        pool.maxPersistentPerHost = max_connections
        pool.cachedConnectionTimeout = _IDLE
        # A second sending behind our back would be a second certificate, or at least a lie in the counters.
        pool.retryAutomatically = False
        endpoints = TLSEndpoints(reactor, policy, min(_CONNECT_TIMEOUT, timeout))
        agent = Agent.usingEndpointFactory(reactor, endpoints, pool)

        async def close() -> None:
            await pool.closeCachedConnections()

        return cls(url, agent, reactor, timeout=timeout, max_connections=max_connections, close=close)

    def in_session_of_its_own(self) -> Self:
        """Return a client over the same connections and under the same limits, with cookies of its own.

        What Dogtag gives to a session (100 nonces at most, one for each thing) is then nobody else's.
        """
        other = copy(self)
        other._agent = CookieAgent(self._connections, _Cookies())  # noqa: SLF001 - one of the same
        return other

    async def get(self, path: str, limit: int = BODY_LIMIT, *, at_once: bool = False) -> Answer:
        """Fetch. Sent a second time when a kept connection turns out to be dead: a GET does no harm twice.

        :param limit: bytes of the answer's body.
        :param at_once: waits for no free connection; for the one probe that must not queue behind stalled requests.
        :raises AuthorityError: UNREACHABLE, NO_ANSWER (not in time), BUSY or BAD_ANSWER (too long).
        """
        return await self._limited(b"GET", path, None, limit, at_once=at_once)

    async def search(self, path: str, body: bytes) -> Answer:
        """Send JSON that asks and changes nothing; like :meth:`get` otherwise."""
        return await self._limited(b"POST", path, _Body(body, self._clock, math.inf, repeatable=True), BODY_LIMIT)

    async def post(self, path: str, body: bytes, send_before: float = math.inf) -> Answer:
        """Send JSON, once.

        :param send_before: the clock's time from which on it is not sent any more.
        :raises AuthorityError: UNREACHABLE and BUSY: certainly not sent; NO_ANSWER and BAD_ANSWER: perhaps acted upon.
        """
        return await self._limited(b"POST", path, _Body(body, self._clock, send_before), BODY_LIMIT)

    async def close(self) -> None:
        """Close the idle connections."""
        if self._close is not None:
            await self._close()

    async def _limited(
        self, method: bytes, path: str, body: _Body | None, limit: int, *, at_once: bool = False
    ) -> Answer:
        exchange = Deferred.fromCoroutine((self._sent if at_once else self._queued)(method, path, body, limit))
        alarm = self._clock.callLater(self.timeout, exchange.cancel)
        try:
            return await exchange
        finally:
            if alarm.active():
                alarm.cancel()

    async def _queued(self, method: bytes, path: str, body: _Body | None, limit: int) -> Answer:
        if len(self._free.waiting) >= self._most_waiting:
            raise error(Kind.BUSY, f"{method.decode()} {path}: {self._most_waiting} requests wait for a connection")
        try:
            await self._free.acquire()
        except CancelledError:
            raise error(Kind.BUSY, f"{method.decode()} {path}: no connection became free in time") from None
        try:
            return await self._sent(method, path, body, limit)
        finally:
            self._free.release()

    async def _sent(self, method: bytes, path: str, body: _Body | None, limit: int) -> Answer:
        return await self._exchange(method, path, body, limit, attempts=2 if body is None or body.repeatable else 1)

    async def _exchange(self, method: bytes, path: str, body: _Body | None, limit: int, attempts: int) -> Answer:
        what = f"{method.decode()} {path}"
        repeatable = body is None or body.repeatable
        headers = Headers({b"Accept": [b"application/json"], b"User-Agent": [f"kipuka/{__version__}".encode()]})
        if body is not None:
            headers.addRawHeader(b"Content-Type", b"application/json")
        try:
            response = await self._agent.request(method, (self._url + path).encode("ascii"), headers, body)
        except _MAYBE_SENT as lost:
            if body is not None and body.is_held_back:
                raise error(Kind.UNREACHABLE, f"{what}: held back, its time was over") from None
            kind = _lost(lost, repeatable=repeatable)
            if attempts > 1 and kind is Kind.UNREACHABLE:
                return await self._exchange(method, path, body, limit, attempts - 1)
            raise error(kind, f"{what}: {_reasons(lost)}") from None
        except Exception as failed:
            if body is not None and body.has_begun and not repeatable:  # whatever this is, it came after the sending
                raise error(Kind.NO_ANSWER, f"{what}: {_reasons(failed)}") from None
            unreachable = error(Kind.UNREACHABLE, f"{what}: {_reasons(failed)}")
            unreachable.connection_refused = isinstance(failed, failures.ConnectionRefusedError)
            raise unreachable from None
        try:
            return await _read(response, limit)
        except (ResponseFailed, CancelledError) as lost:
            kind = _lost(lost, repeatable=repeatable)
            if attempts > 1 and kind is Kind.UNREACHABLE:
                return await self._exchange(method, path, body, limit, attempts - 1)
            raise error(kind, f"{what}, in the body of the answer: {_reasons(lost)}") from None


class _Cookies(CookieJar):
    """Does without the cookies of an answer that it cannot read, so that they do not cost the answer."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        with suppress(Exception):
            super().extract_cookies(response, request)


async def _read(response: IResponse, limit: int) -> Answer:
    if response.length is not UNKNOWN_LENGTH and response.length > limit:
        # Never read: the connection goes with the response.
        response.deliverBody(_Discard())
        raise error(Kind.BAD_ANSWER, f"an answer of {response.length} bytes; {limit} are the limit")
    content_type, date = (
        response.headers.getRawHeaders(name, [b""])[0].decode("latin-1") for name in (b"content-type", b"date")
    )
    body = _Collector(limit)
    response.deliverBody(body)
    return Answer(response.code, content_type, await body.complete, date)


class _Collector(Protocol):
    """Gathers a body up to the limit. Giving up closes the connection, with the rest of the body unread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.complete: Deferred[bytes] = Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            if not self.complete.called:
                self.complete.errback(error(Kind.BAD_ANSWER, f"an answer of more than {self._limit} bytes"))
            self._hang_up()
            return
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.complete.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.complete.callback(b"".join(self._parts))
        else:
            self.complete.errback(ResponseFailed([reason]))

    def _hang_up(self) -> None:
        if self.transport is not None:
            cast("IPushProducer", self.transport).stopProducing()


class _Discard(Protocol):
    def connectionMade(self) -> None:
        cast("IPushProducer", self.transport).stopProducing()


@implementer(IBodyProducer)
class _Body:
    """A body that is there: written in one go, its length announced, unless it is too late for that.

    This is the last moment: everything that takes time lies behind, and half a request does nothing at a CA.
    """

    def __init__(self, body: bytes, clock: IReactorTime, send_before: float, *, repeatable: bool = False) -> None:
        self._body = body
        self.repeatable = repeatable
        self._clock = clock
        self._send_before = send_before
        self.length = len(body)
        self.is_held_back = False
        self.has_begun = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        if self._clock.seconds() >= self._send_before:
            self.is_held_back = True
            raise TimeoutError
        self.has_begun = True
        written: Deferred[None] = Deferred()
        consumer.write(self._body)
        written.callback(None)
        return written

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


def _lost(failed: Exception, *, repeatable: bool) -> Kind:
    """Say what a broken exchange leaves open: what only asks can be asked again, unless the server hangs."""
    if _is(failed, HeaderTooLongError):
        return Kind.BAD_ANSWER
    return Kind.UNREACHABLE if repeatable and not _is(failed, CancelledError) else Kind.NO_ANSWER


def _is(failed: Exception, kind: type[Exception]) -> bool:
    return isinstance(failed, kind) or any(reason.check(kind) for reason in getattr(failed, "reasons", ()))


def _reasons(failed: Exception) -> str:
    """Twisted's wrappers say only how many reasons they hold."""
    inner = [reason.value for reason in getattr(failed, "reasons", ())] or [failed]
    return "; ".join("timed out" if isinstance(each, CancelledError) else _named(each) for each in inner)


def _named(failed: BaseException) -> str:
    return f"{type(failed).__name__}: {failed}"
