"""A room that is not the admin API's, for administrators only: the metrics, and the health where it takes a token."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET, Request

from kipuka.access.tokens import Scope
from kipuka.errors import KipukaError
from kipuka.web.admin.routing import Gate, facts_of
from kipuka.web.answers import prepare


class Guarded(Resource):
    """Hands a request on, whole, once its sender is let in with a scope."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, room: IResource, gate: Gate, scope: Scope) -> None:
        super().__init__()
        self._room = room
        self._gate = gate
        self._scope = scope

    def render(self, request: Request) -> int:
        """Ask who it is, then answer or hand on (Twisted's interface)."""
        done = Deferred.fromCoroutine(self._serve(request))
        request.notifyFinish().addErrback(lambda _: done.cancel())  # the client went away
        done.addErrback(_failed, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        try:
            await self._gate.admit(request, self._scope)
        except KipukaError as error:
            method, path = request.method.decode("ascii", "replace"), request.path.decode("ascii", "replace")
            facts = facts_of(request, f"{method} {path}")
            request.write(prepare(request, self._gate.refused(request, error, facts)))
            request.finish()
        else:
            request.render(getChildForRequest(self._room, request))


def _failed(failure: Failure, request: Request) -> None:
    if not failure.check(CancelledError):
        request.processingFailed(failure)
