"""Limits on what a connection may do: bytes, total seconds, framing, and how many there are.

Twisted's own timeout starts again with every byte, so one byte a second would hold a connection for ever; the
deadlines here run from the first byte of a request's header, and of its body, to the last.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from kipuka.access.addresses import counted_as
from kipuka.web.http import json_answers
from kipuka.web.http.answers import Answer, date, fields, reason, text, with_reference
from kipuka.web.http.sent import Outgoing

_log = Logger("kipuka.access")

LINGER = 5
"""Seconds in which a refused client may read the refusal before its connection is cut."""

LIFETIME = 3600
"""Seconds after which a connection ends with its next answer: its certificate may have expired since the handshake."""

_LONGEST_LENGTH = 100
_LOGGED = 200
"""Bytes of a request's line in a line of the log."""
_HOST = re.compile(rb"[A-Za-z0-9._~:\[\]-]{0,300}")
_WITH_BODY = {b"POST", b"PUT", b"PATCH", b"QUERY"}
_METHODS = _WITH_BODY | {b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"}
"""Those of RFC 9110, RFC 5789 and the HTTP QUERY method; case counts (RFC 9110 §9.1), which the router forgets."""
_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data")


@dataclass(frozen=True)
class Limits:
    """Bytes and seconds of one request.

    :param body: bytes of a request's body.
    :param header_seconds: from the first byte of a request to the end of its header.
    :param body_seconds: from there to the last byte of the body.
    :param idle_seconds: between requests, and from the TCP connection to the first request.
    """

    body: int = 64 * 1024
    header_seconds: float = 10
    body_seconds: float = 30
    idle_seconds: float = 60


class LimitedChannel(HTTPChannel):
    """An HTTP/1.1 connection that keeps to its :class:`Limits` and refuses doubtful framing (RFC 9112 §6).

    ``limits``, ``speaks_json`` and ``gone`` are set by the site; ``refused`` is true once the connection only waits to
    be closed.
    """

    limits = Limits()
    gone: Callable[[LimitedChannel, Failure], None] | None = None
    speaks_json: Callable[[bytes], bool] = staticmethod(lambda _path: False)
    refused = False
    _deadline: IDelayedCall | None = None
    _cut: IDelayedCall | None = None
    _lifetime: IDelayedCall | None = None
    _outgoing: Outgoing | None = None
    _in_request = False
    _last = False
    _command = _path = b""

    def connectionMade(self) -> None:
        """Start the clock for the handshake and the first byte."""
        super().connectionMade()
        self._set_deadline(self.limits.idle_seconds, self._out_of_time)
        self._lifetime = self.callLater(LIFETIME, self.last_answer)

    def dataReceived(self, data: bytes) -> None:
        """Start the header's clock with its first byte; drop everything once refused."""
        if self.refused:
            return
        if not self._in_request and not self._handlingRequest:
            self._in_request = True
            self._set_deadline(self.limits.header_seconds, self._out_of_time)
        super().dataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        """Refuse what Twisted lets through: bare CR and LF (before 25), lengths of more digits than ``int`` reads."""
        name, _, value = line.partition(b":")
        endless = len(value) > _LONGEST_LENGTH and name.lower() == b"content-length"
        if endless or b"\r" in line or b"\n" in line:
            self._respondToBadRequestAndDisconnect()
            return False
        valid: bool = super().headerReceived(line)
        return valid

    def allHeadersReceived(self) -> None:
        """Decide on the framing before ``100 Continue`` is said and before the body is read."""
        answer = self._framing_fault()
        if answer is not None:
            self.refuse(answer)
            return
        self._in_request = True  # a pipelined request comes out of a buffer, past dataReceived
        self._set_deadline(self.limits.body_seconds, self._out_of_time)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """Stop the clock: from here on it is kipuka that takes its time. No fault may leave it stopped."""
        if self.refused:
            return
        self._set_deadline(None)
        request, command, path = self.requests[-1], self._command, self._path
        try:
            super().allContentReceived()
        except Exception:
            _log.failure("{method!r} {path!r} failed before it was looked at", method=command, path=path[:_LOGGED])
            self._command, self._path = command, path
            if request.startedWriting:
                self.refused = True
                self.loseConnection()
            else:
                self.refuse(text(500, "Something went wrong in kipuka: tell its administrator."))

    def requestDone(self, request: object) -> None:
        """Wait for the next request, if there is to be one; until its first line is read it asks for nothing."""
        self._in_request = False
        self._command = self._path = b""
        super().requestDone(request)
        if self._waitingForTransport and self.persistent and not self._handlingRequest:
            # Twisted forgets it: whoever sends requests and reads no answers would fill the memory.
            self._networkProducer.pauseProducing()

    def when_sent(self, then: Callable[[], None]) -> None:
        """Have it called when the answers so far are out; see :meth:`~kipuka.web.http.sent.Outgoing.when_sent`."""
        if self._outgoing is None:
            self._outgoing = Outgoing(self.transport, self.callLater)
        self._outgoing.when_sent(then)

    def last_request(self) -> None:
        """Close now when idle, else after the answer to what has begun to arrive: the service or a certificate ends."""
        self.last_answer()
        if not self._in_request:
            self.refused = True
            self.loseConnection()

    def last_answer(self) -> None:
        """Close after the next answer: whoever comes again has their certificate checked by what holds then."""
        self._last = True
        if self._in_request and self.requests:  # else checkPersistence will see to it
            self.persistent = self.checkPersistence(self.requests[0], b"HTTP/1.1")

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Find ``close`` wherever it stands in Connection (RFC 9112 §9.3), which Twisted splits at blanks."""
        options = b",".join(request.requestHeaders.getRawHeaders(b"Connection") or []).lower().split(b",")
        # Without a length there is no body (RFC 9112 §6.3); what follows may be one all the same, and is no request.
        if self._last or self._lacks_length() or b"close" in (option.strip() for option in options):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        persistent: bool = super().checkPersistence(request, version)
        return persistent

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the clocks and tell the site."""
        self._set_deadline(None)
        for call in (self._cut, self._lifetime):
            if call is not None and call.active():
                call.cancel()
        if self._outgoing is not None:
            self._outgoing.lost()
        super().connectionLost(reason)
        if self.gone is not None:
            self.gone(self, reason)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - LineReceiver's signature
        """Say why, where Twisted only closes."""
        self.refuse(text(400, "The request's header is too long: shorten its longest line."))

    def refuse(self, answer: Answer) -> None:
        """Answer at once, read nothing more, and close.

        The answer is written past the request object: it may not even exist yet.
        """
        if self.refused:
            return
        self.refused = True
        reference = secrets.token_hex(4)
        answer = with_reference(answer, reference)
        if self._wants_json():
            answer = json_answers.of_text(answer)
        self._set_deadline(None)
        self.setTimeout(None)
        _log.info(
            "{address} {method!r} {path!r} refused unread: {status} {reference}",
            address=getattr(self.getPeer(), "host", "?"),
            method=self._command[:_LOGGED],
            path=self._path[:_LOGGED],
            status=answer.status,
            reference=reference,
        )
        head = b"HTTP/1.1 %d %s\r\n" % (answer.status, reason(answer.status))
        for name, value in [*fields(answer), ("Date", date()), ("Connection", "close")]:
            head += f"{name}: {value}\r\n".encode("ascii")
        body = b"" if self._command == b"HEAD" else answer.body
        if self.transport is not None:
            self.transport.write(head + b"\r\n" + body)
        self.loseConnection()

    def loseConnection(self) -> None:
        """Close, and cut the connection when the client does not close its side: it must not stay half-closed."""
        super().loseConnection()
        if self._cut is None:
            self._cut = self.callLater(LINGER, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """Cut the connection without another word."""
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        self._cut = None
        if self.transport is not None:
            ITCPTransport(self.transport).abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(text(400, "This is not a well-formed HTTP/1.1 request."))

    def _out_of_time(self) -> None:
        self._deadline = None
        if self._in_request:
            self.refuse(text(408, "The request took too long to arrive: send it again without pauses."))
        else:
            self.refused = True
            self.forceAbortClient()

    def _set_deadline(self, seconds: float | None, then: object = None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.callLater(seconds, then)

    def _framing_fault(self) -> Answer | None:
        headers = self.requests[-1].requestHeaders

        def values(name: bytes) -> list[bytes]:
            return headers.getRawHeaders(name) or []

        hosts = values(b"Host")
        if len(hosts) > 1 or (self._version == b"HTTP/1.1" and not hosts) or not all(map(_HOST.fullmatch, hosts)):
            return text(400, "Send exactly one Host header field with the server's name.")
        coding = values(b"Transfer-Encoding")
        if coding and (self._version == b"HTTP/1.0" or [c.lower() for c in coding] != [b"chunked"]):
            return text(400, "Use Transfer-Encoding: chunked, or none, in an HTTP/1.1 request.")
        if any(c.lower() != b"identity" for c in values(b"Content-Encoding")):
            return text(415, "Send the body without Content-Encoding.")
        if self._command not in _METHODS:
            return text(501, "No such method is known here: use GET, HEAD or POST, written in capitals.")
        if self._lacks_length() and not self._wants_json():  # an operation of EST always has a body
            return text(411, "Send a Content-Length with the request.")
        if self.length is not None and self.length > self.limits.body:
            return self.too_large()
        kind = b"".join(values(b"Content-Type")[:1]).split(b";")[0].strip().lower()
        if kind in _FORMS:
            example = json_answers.MEDIA_TYPE if self._wants_json() else "application/pkcs10"
            return text(415, f"Set Content-Type to the operation's media type, for example {example}.")
        return None

    def _lacks_length(self) -> bool:
        headers = self.requests[-1].requestHeaders
        announced = any(headers.hasHeader(name) for name in ("Content-Length", "Transfer-Encoding"))
        return self._command in _WITH_BODY and not announced

    def _wants_json(self) -> bool:
        """Whether this is a request for something that answers in JSON; its first line may not have been read yet."""
        return self.speaks_json(self._path)

    def too_large(self) -> Answer:
        """The answer to a body over the limit."""
        return text(413, f"The request's body is larger than the {self.limits.body} bytes that are accepted.")


class _Counted(ProtocolWrapper):
    """A connection that knows as what it was counted."""

    counted_as = ""


class ConnectionLimit(WrappingFactory):
    """Closes connections beyond a number, overall and for one address, before their TLS handshake costs anything.

    :param wrapped: what the accepted connections are for.
    :param overall: connections at a time.
    :param per_address: connections at a time from one IP address, of IPv6 from one /64.
    :param told: called with the address of each that is closed, and the setting that it is over.
    """

    def __init__(
        self,
        wrapped: IProtocolFactory,
        overall: int,
        per_address: int,
        told: Callable[[str, str], None] = lambda _address, _limit: None,
    ) -> None:
        super().__init__(wrapped)
        self._told = told
        self.overall = overall
        self.per_address = per_address
        self._count: Counter[str] = Counter()
        self.refused = 0
        """Connections that were one too many, since the start."""

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return self._count.total()

    def buildProtocol(self, addr: IAddress | None) -> _Counted | None:  # type: ignore[override]
        """Accept, or return None and Twisted closes the socket (its WrappingFactory forgets that None is allowed)."""
        host = str(getattr(addr, "host", addr))
        key = counted_as(host)
        is_full = self.connections >= self.overall
        if is_full or self._count[key] >= self.per_address:
            self.refused += 1
            self._told(host, "max_connections" if is_full else "max_connections_per_address")
            return None
        counted = _Counted(cast("Any", self), self.wrappedFactory.buildProtocol(addr))
        counted.counted_as = key
        self._count[key] += 1
        return counted

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Count a connection that has ended."""
        super().unregisterProtocol(p)
        if isinstance(p, _Counted):
            self._count[p.counted_as] -= 1
            if not self._count[p.counted_as]:
                del self._count[p.counted_as]
