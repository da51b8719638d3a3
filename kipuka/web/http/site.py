"""The site: requests as twisted.web sees them, with kipuka's limits, plain-text errors, and an end that drains."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextvars import copy_context
from io import BytesIO
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer_only

from kipuka.errors import Kind, RequestError
from kipuka.est.labels import decode_segment
from kipuka.observe.context import reference
from kipuka.web.http import json_answers
from kipuka.web.http.answers import Answer, prepare
from kipuka.web.http.errors import refusal
from kipuka.web.http.limits import LimitedChannel, Limits

_log = Logger("kipuka.web")

_ABSOLUTE = re.compile(rb"^https?://[^/]*", re.IGNORECASE)


class LimitedRequest(Request):
    """A request whose body is bounded and whose failures are told in plain text (RFC 7030 §4.2.3)."""

    channel: LimitedChannel
    reference = ""
    """What the log, the audit and an error's text call it: eight hexadecimal digits."""
    _received = 0

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002 - Twisted's signature
        """Keep the body in memory: it is bounded, and Twisted would spool a chunked one to disk."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Count what arrives; a chunked body announces no length."""
        if self.channel.refused:
            return
        if self._received + len(data) > self.channel.limits.body:
            self.channel.refuse(self.channel.too_large())
            return
        self._received += len(data)
        super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take the absolute form of the target too (RFC 9112 §3.2.2); do nothing once refused."""
        if self.channel.refused:
            return
        # Twisted looks for a form in what was read so far, and its parser of Content-Type fails, or takes seconds.
        cast("BytesIO", self.content).seek(0)
        super().requestReceived(command, _ABSOLUTE.sub(b"", path, count=1) or b"/", version)

    def getRequestHostname(self) -> bytes:
        """Klein's router asks for it and fails on names that IDNA does not take (``a..b``); no route depends on it."""
        return b"localhost"

    def process(self) -> None:
        """Give the request its reference, and everything that is done for it a context that knows it."""
        self.reference = secrets.token_hex(4)
        context = copy_context()
        context.run(reference.set, self.reference)
        context.run(self._process)

    def _process(self) -> None:
        try:
            _check_path(self.path)
        except RequestError as error:
            self.write(prepare(self, self._worded(refusal(error, 0, self.reference))))
            self.finish()
            return
        super().process()

    def processingFailed(self, reason: Failure) -> None:
        """Log the failure whole, tell the client nothing but that it happened."""
        _log.failure("request {reference} failed", failure=reason, reference=self.reference)
        if not self.startedWriting:
            error = RequestError(Kind.INTERNAL, "Something went wrong in kipuka: tell its administrator.")
            self.write(prepare(self, self._worded(refusal(error, 0, self.reference))))
        self.finish()

    def _worded(self, answer: Answer) -> Answer:
        return json_answers.of_text(answer) if self.channel.speaks_json(self.path) else answer


def _check_path(path: bytes) -> None:
    """Refuse disguised paths: to the router they, or their segments when decoded, would be others than they look.

    :raises RequestError: NOT_FOUND.
    """
    if not path.startswith(b"/"):  # Twisted drops the first byte unseen
        raise RequestError(Kind.NOT_FOUND, "There is nothing at this path: begin it with a slash.")
    for segment in path[1:].split(b"/"):
        decode_segment(segment)


# Not IProtocolNegotiationFactory: Twisted before 25 would put its own ALPN, with h2 where that is installed, in the
# place of the listener's.
@implementer_only(IProtocolFactory)
class EstSite(Site):
    """Serves one resource over :class:`LimitedChannel` connections.

    :param reactor: for the clocks.
    :param observe: called with each finished request, for the access log.
    :param ended: called with the reason for which a connection ended, and the client's IP address.
    :param speaks_json: whether what is at a path answers in JSON, errors included.
    """

    protocol = LimitedChannel  # type: ignore[assignment]  # declared for the class that also speaks HTTP/2
    requestFactory = LimitedRequest  # noqa: N815 - Twisted's name

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        limits: Limits,
        observe: Callable[[HttpRequest], None],
        ended: Callable[[Failure, str], None] = lambda _reason, _address: None,
        speaks_json: Callable[[bytes], bool] = lambda _path: False,
    ) -> None:
        super().__init__(resource, timeout=limits.idle_seconds, reactor=reactor)
        self._observe = observe
        self._ended = ended
        self._channels: set[LimitedChannel] = set()
        self.serve(resource, limits, speaks_json)
        self._drained: Deferred[None] | None = None

    def serve(self, resource: IResource, limits: Limits, speaks_json: Callable[[bytes], bool]) -> None:
        """Serve something else: from the next request on, with the limits from the next connection on."""
        self.resource = resource
        self.timeOut = limits.idle_seconds
        self._limits = limits
        self._speaks_json = speaks_json
        for channel in self._channels:
            channel.last_answer()

    def buildProtocol(self, addr: IAddress | None) -> LimitedChannel:  # type: ignore[override]
        """Give the connection its limits."""
        channel = cast("LimitedChannel", super().buildProtocol(addr))
        channel.limits = self._limits
        channel.speaks_json = lambda path: self._speaks_json(path)
        channel.gone = self._gone
        self._channels.add(channel)
        return channel

    def log(self, request: HttpRequest) -> None:
        """Hand finished requests to the observer instead of Twisted's line format."""
        self._observe(request)

    def drain(self) -> Deferred[None]:
        """Close idle connections now and the others when their answer is out.

        :return: fires when the last connection is gone.
        """
        self._drained = Deferred()
        for channel in list(self._channels):
            channel.last_request()
        self._check_drained()
        return self._drained

    def _gone(self, channel: LimitedChannel, reason: Failure) -> None:
        self._ended(reason, str(getattr(channel.getPeer(), "host", "?")))
        self._channels.discard(channel)
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._channels and not self._drained.called:
            self._drained.callback(None)
