"""``GET /metrics``: the numbers for Prometheus, to whoever may see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import IResource

from kipuka.errors import KipukaError
from kipuka.web.admin.door import bearer_token
from kipuka.web.admin.routing import json_errors, refusal
from kipuka.web.health import Authorise, anybody
from kipuka.web.http import session
from kipuka.web.http.answers import Answer, prepare
from kipuka.web.http.received import field


class MetricsPage:
    """The page, as a room of a listener.

    :param expose: given the Accept field, returns media type and body; it must not block.
    :param refresh: brings up to date what ``expose`` cannot look up at once. It bounds its own time and does not raise.
    :param authorise: who may read.
    """

    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    json_errors(app)

    def __init__(
        self,
        expose: Callable[[str], tuple[str, bytes]],
        refresh: Callable[[], Awaitable[None]],
        authorise: Authorise = anybody,
    ) -> None:
        self._expose = expose
        self._refresh = refresh
        self._authorise = authorise

    def resource(self) -> IResource:
        """The resource for ``b"metrics"`` of a :class:`~kipuka.web.http.tree.Tree`."""
        return self.app.resource()

    @app.route("/metrics", methods=["GET", "HEAD"])
    def page(self, request: Request) -> Deferred[bytes]:
        """Everything, in Prometheus's text format or in OpenMetrics where Accept names it."""

        async def work() -> bytes:
            return prepare(request, await self._answer(request))

        return Deferred.fromCoroutine(work())

    async def _answer(self, request: Request) -> Answer:
        try:
            await self._authorise(request)
        except KipukaError as error:
            showed_token = bearer_token(request) is not None
            return refusal(error, 1, session.reference(request), showed_token=showed_token)
        await self._refresh()
        media_type, body = self._expose(field(request, "accept") or "")
        return Answer(200, media_type, body, (("Cache-Control", "no-store"),))
