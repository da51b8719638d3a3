"""How a request reaches the admin API: routes that say who may call them, and errors as JSON.

The order of decisions is: route, method, who is calling and what for, query, media type, body. Whoever may not call
learns nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, cast

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from kipuka.access.credentials.tokens import Scope
from kipuka.errors import Kind, KipukaError, RequestError
from kipuka.observe.audit.record import Audit, AuditEvent, Record
from kipuka.web.admin import parameters
from kipuka.web.admin.door import Administrator, Door, TooManyFailuresError, bearer_token, check_origin
from kipuka.web.admin.parameters import Parameter, Schema
from kipuka.web.http import json_answers, received, session
from kipuka.web.http.answers import Answer, prepare
from kipuka.web.http.errors import REALM, is_for_later, status_of

_log = Logger("kipuka.admin")
_SERVER_ERRORS = 500
_ABOUT_THE_CALLER = {Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.TOO_MANY}


class Anybody(Enum):
    """In the place of a scope: whoever reaches the address may call."""

    ANYBODY = "anybody"


ANYBODY = Anybody.ANYBODY


@dataclass(frozen=True)
class Route:
    """One operation, for the router and for the description.

    :param path: with path parameters in braces, as in OpenAPI.
    :param access: the scope it takes.
    :param within: the path parameters, in the order of the path.
    :param query: the others.
    :param body: schema of the JSON it takes; None for an operation without a body.
    :param result: name of the schema of its answer.
    :param errors: statuses it may answer with beside those that every operation may.
    :param event: what the audit calls it; None for an operation that changes nothing.
    """

    method: str
    path: str
    access: Scope | Anybody
    summary: str
    result: str
    within: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    body: Schema | None = None
    errors: tuple[int, ...] = ()
    event: AuditEvent | None = None


@dataclass
class Call:
    """One request on its way through an operation.

    :param by: who asks; empty for an operation that anybody may call.
    :param query: the values of the query's parameters.
    :param facts: what the audit will say of it, by its fields, if it changes anything; operations add to it.
    """

    request: Request
    by: str
    query: Mapping[str, Any]
    facts: dict[str, object] = field(default_factory=dict)

    def json(self) -> Any:
        """The value in the body; its size is bounded by the channel.

        :raises RequestError: UNSUPPORTED_TYPE or MALFORMED.
        """
        kind, _, options = (received.field(self.request, "content-type") or "").partition(";")
        if kind.strip().lower() != json_answers.MEDIA_TYPE or options.strip().lower() not in ("", "charset=utf-8"):
            raise RequestError(Kind.UNSUPPORTED_TYPE, "Send the body as JSON: Content-Type: application/json.")
        content = self.request.content
        if content is None or content.closed:
            raise RequestError(Kind.MALFORMED, "The connection ended before the request was looked at: send it again.")
        try:
            return json.loads(content.read().decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
        except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
            raise RequestError(
                Kind.MALFORMED, "The body is not JSON (RFC 8259) with each name given once: check its syntax."
            ) from None


Operation = Callable[..., Awaitable[Answer]]


class Gate:
    """Lets administrators through to the operations, and turns every error into JSON.

    :param retry_after: seconds that 503 and 504 tell a client to wait.
    :param audit: takes one record for each change and for each refusal to an unknown or unentitled caller.
    """

    def __init__(self, door: Door, retry_after: int, audit: Audit) -> None:
        self._door = door
        self._retry_after = retry_after
        self._audit = audit

    def serve(self, request: Request, route: Route, perform: Operation, within: Mapping[str, str]) -> Deferred[bytes]:
        """Answer one request.

        Klein cancels the Deferred when the client goes away. What changes nothing ends then; a change is brought to its
        end, and to the audit.
        """
        answered = Deferred.fromCoroutine(self._answer(request, route, perform, within))
        if route.event is not None:
            change, answered = answered, Deferred()
            change.chainDeferred(answered)

        async def work() -> bytes:
            return prepare(request, await answered)

        return Deferred.fromCoroutine(work())

    async def admit(self, request: Request, scope: Scope) -> Administrator:
        """Let an administrator through to something that is no operation of the API, such as the metrics.

        :raises RequestError: see :meth:`kipuka.web.admin.door.Door.admit`; it is audited.
        """
        try:
            return await self._door.admit(request, scope)
        except RequestError as error:
            method, path = request.method.decode("ascii", "replace"), request.path.decode("ascii", "replace")
            self._note_refusal(error, facts_of(request, f"{method} {path}"))
            raise

    def refused(self, request: Request, error: KipukaError, facts: Mapping[str, object]) -> Answer:
        """The answer for an error, which is audited when it is about who is calling.

        :param facts: what the audit says of it, by its fields: see :func:`facts_of`.
        """
        reference = session.reference(request)
        self._note_refusal(error, facts)
        if status_of(error.kind) >= _SERVER_ERRORS:
            _log.warn("request {reference}: {error}", reference=reference, error=str(error))
        return refusal(error, self._retry_after, reference, showed_token=bearer_token(request) is not None)

    def _note_refusal(self, error: KipukaError, facts: Mapping[str, object]) -> None:
        if error.kind in _ABOUT_THE_CALLER and isinstance(error, RequestError):
            self._audit(Record.of(AuditEvent.ADMIN_REFUSED, {**facts, "outcome": "refused", **_why(error)}))

    async def _answer(self, request: Request, route: Route, perform: Operation, within: Mapping[str, str]) -> Answer:
        facts = facts_of(request, f"{route.method} {route.path}")
        error: KipukaError
        try:
            by = ""
            if isinstance(route.access, Scope):
                by = (await self._door.admit(request, route.access)).name
                facts["caller"] = by
                if route.event is not None:
                    check_origin(request)
            values = [parameters.read(parameter, within[parameter.name]) for parameter in route.within]
            call = Call(request, by, parameters.query(request.uri, route.query), facts)
            answer = await perform(call, *values)
        except KipukaError as known:
            error = known
        except CancelledError:
            raise
        except Exception:
            _log.failure("an operation of the admin API failed")
            error = RequestError(Kind.INTERNAL, "Something went wrong in kipuka: tell its administrator.")
        else:
            if route.event is not None:
                self._audit(Record.of(route.event, {"outcome": "done", **facts}))
            return answer
        if route.event is not None and "caller" in facts and error.kind not in _ABOUT_THE_CALLER:
            self._audit(Record.of(route.event, {**facts, "outcome": "failed", **_why(error)}))
        return self.refused(request, error, facts)


class Routes:
    """The operations of one API, and the router that finds them."""

    def __init__(self) -> None:
        self.app = Klein()
        self.app.url_map.merge_slashes = False
        self.app.url_map.strict_slashes = False
        self.all: list[Route] = []
        json_errors(self.app)

    def add(self, route: Route) -> Callable[[Operation], Operation]:
        """Route to a method of a class that has a ``gate``. The method takes the call and the path's parameters."""

        def decorate(perform: Operation) -> Operation:
            def handle(instance: Any, request: Request, **within: str) -> Deferred[bytes]:
                gate: Gate = instance.gate

                async def bound(call: Call, *values: object) -> Answer:
                    return await perform(instance, call, *values)

                return gate.serve(request, route, bound, within)

            handle.__name__ = perform.__name__
            address = route.path.replace("{", "<").replace("}", ">")
            self.app.route(address, methods=[route.method])(handle)
            self.all.append(route)
            return perform

        return decorate


def facts_of(request: Request, operation: str) -> dict[str, object]:
    """What the audit says of every call, by its fields."""
    return {**asdict(session.origin(request)), "operation": operation}


def refusal(error: KipukaError, retry_after: int, reference: str = "", *, showed_token: bool = False) -> Answer:
    """The answer for an error, in JSON.

    :param retry_after: seconds, where the error itself does not say.
    :param reference: what the log calls it; told with errors of the server, and those of access.
    :param showed_token: whether the caller tried a token (RFC 6750 §3: else the challenge names no error).
    """
    headers: list[tuple[str, str]] = []
    status = status_of(error.kind)
    if is_for_later(error.kind):
        seconds = error.retry_after if isinstance(error, TooManyFailuresError) else retry_after
        headers.append(("Retry-After", str(max(1, seconds))))
    if isinstance(error, RequestError):
        fault = {Kind.UNAUTHENTICATED: "invalid_token", Kind.FORBIDDEN: "insufficient_scope"}.get(error.kind)
        if fault is not None:
            told = f', error="{fault}"' if showed_token else ""
            headers.append(("WWW-Authenticate", f'Bearer realm="{REALM}"{told}'))
    with_reference = reference and (status >= _SERVER_ERRORS or error.kind in _ABOUT_THE_CALLER)
    message = f"{error.text} (reference {reference})" if with_reference else error.text
    return json_answers.error(status, error.kind.value, message, *headers)


def json_errors(app: Klein) -> None:
    """Answer in JSON where no operation is reached."""

    @app.handle_errors(MethodNotAllowed)
    def wrong_method(self: Any, request: IRequest, failure: Failure) -> bytes:  # noqa: ARG001 - Klein's
        allowed = sorted(set(getattr(failure.value, "valid_methods", None) or ()))
        sentence = f"Use {' or '.join(allowed)} at this address."
        answer = json_answers.error(405, json_answers.code_of(405), sentence, ("Allow", ", ".join(allowed)))
        return prepare(cast("Request", request), answer)

    @app.handle_errors(HTTPException)
    def nothing_here(self: Any, request: IRequest, failure: Failure) -> bytes:  # noqa: ARG001 - Klein's
        sentence = "There is nothing here: GET /admin/openapi.json describes what there is."
        return prepare(cast("Request", request), json_answers.error(404, json_answers.code_of(404), sentence))


def _why(error: KipukaError) -> dict[str, object]:
    """The same of what went wrong."""
    return {"kind": error.kind.value, "reason": error.text, "cause": error.cause}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is given twice")
    return value


def _no_number(_: str) -> None:
    raise ValueError("no JSON")
