"""``/health/...``: whether the daemon lives, whether it can serve, and how each CA is. JSON, for probes and people."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from kipuka.errors import Kind, KipukaError, RequestError
from kipuka.web.admin.door import bearer_token
from kipuka.web.admin.routing import refusal
from kipuka.web.http import json_answers, session
from kipuka.web.http.answers import Answer, prepare

Cas = Callable[[], Mapping[str, Mapping[str, object]]]
"""How each CA is, by id: at least "status", "last_check" and "consecutive_failures"."""
Ready = Callable[[], Sequence[str]]
"""Why requests cannot be served now, one sentence each; empty when they can."""
Authorise = Callable[[Request], Awaitable[None]]
"""Raises RequestError, UNAUTHENTICATED or FORBIDDEN, for whoever may not know."""


async def anybody(_request: Request) -> None:
    """``health = "open"``: everybody may know."""


async def loopback(request: Request) -> None:
    """``health = "loopback"``: who is on this machine may know.

    :raises RequestError: FORBIDDEN, for everybody else.
    """
    try:
        address = ipaddress.ip_address(session.client_address(request))
    except ValueError:
        address = None
    inner = getattr(address, "ipv4_mapped", None) or address
    if inner is None or not inner.is_loopback:
        raise RequestError(Kind.FORBIDDEN, "Health is told on this machine only: ask from there.")


class HealthPages:
    """The room at ``/health``.

    :param cas: what ``/health/ca`` shows.
    """

    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False

    def __init__(self, cas: Cas, ready: Ready, authorise: Authorise = anybody) -> None:
        self._cas = cas
        self._ready = ready
        self._authorise = authorise

    def resource(self) -> IResource:
        """The resource for a tree."""
        return self.app.resource()

    @app.route("/health/ca", methods=["GET"])
    def ca(self, request: Request) -> Deferred[bytes]:
        """How each CA is: 200 however bad that is."""
        return self._serve(request, lambda: json_answers.answer(200, self._cas()))

    @app.route("/health/live", methods=["GET"])
    def live(self, request: Request) -> Deferred[bytes]:
        """The process answers; of the CAs and the database this says nothing, for no restart would mend them."""
        return self._serve(request, lambda: json_answers.answer(200, {"status": "live"}))

    @app.route("/health/ready", methods=["GET"])
    def ready(self, request: Request) -> Deferred[bytes]:
        """Whether requests can be served: 200, or 503 and why not."""
        return self._serve(request, lambda: _readiness(self._ready()))

    def _serve(self, request: Request, answer: Callable[[], Answer]) -> Deferred[bytes]:
        async def work() -> bytes:
            try:
                await self._authorise(request)
            except KipukaError as error:
                return prepare(request, refusal(error, 1, showed_token=bearer_token(request) is not None))
            return prepare(request, answer())

        return Deferred.fromCoroutine(work())

    @app.handle_errors(MethodNotAllowed)
    def _wrong_method(self, request: IRequest, failure: Failure) -> bytes:  # noqa: ARG002 - Klein's
        refusal = json_answers.error(
            405, "method_not_allowed", "Use GET or HEAD at this address.", ("Allow", "GET, HEAD")
        )
        return prepare(cast("Request", request), refusal)

    @app.handle_errors(HTTPException)
    def _nothing_here(self, request: IRequest, failure: Failure) -> bytes:  # noqa: ARG002 - Klein's
        text = "There is nothing here: ask for /health/live, /health/ready or /health/ca."
        return prepare(cast("Request", request), json_answers.error(404, "not_found", text))


def _readiness(reasons: Sequence[str]) -> Answer:
    if not reasons:
        return json_answers.answer(200, {"status": "ready"})
    error = {"error": "not_ready", "message": " ".join(reasons)}
    return json_answers.answer(503, {"status": "not ready", "reasons": list(reasons), **error})
