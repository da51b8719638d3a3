"""How a request reaches an operation: the three addresses of each, who may call it, and what an error becomes.

A route cannot be written without saying who may call it. The order of decisions is: TLS, HTTP authentication, media
type, body, proof of possession, authorization, CA: the cheap refusals come first, and nobody learns more than who they
are allows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, cast

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from kipuka.access.identity import Caller
from kipuka.access.policy import Policy
from kipuka.enrollment.registration import Registration
from kipuka.errors import Kind, KipukaError, RequestError
from kipuka.observe.audit.record import Audit, AuditEvent, Origin, Record
from kipuka.web.est.authentication import Passwords, basic_credentials, wants_bare_challenge
from kipuka.web.http import session
from kipuka.web.http.answers import Answer, prepare, text
from kipuka.web.http.errors import refusal
from kipuka.web.http.limits import LimitedChannel

_log = Logger("kipuka.est")
_ROOT = "/.well-known/est"


Began = Callable[[str, str | None], Callable[[str], None]]
"""Told an operation and the label in its path; what it returns is told the outcome, see :attr:`Answer.outcome`."""


class Access(Enum):
    """Who may call an operation."""

    ANYBODY = "anybody"
    """A device has no credentials yet, or no trust (RFC 7030 §4.1.2, §4.5)."""
    ADMITTED = "admitted"
    """Whoever the label's policy admits."""


@dataclass(frozen=True)
class Label:
    """All that the operations of one label need.

    :param name: the path segment; None for the addresses without one.
    :param wrap: ``line_wrap`` of the configuration.
    :param csr_attributes: DER of the CsrAttrs (RFC 8951 §3.2), None when there is nothing to say.
    :param offers_attributes: whether /csrattrs is offered at all.
    """

    name: str | None
    policy: Policy
    registration: Registration
    wrap: str | int = "auto"
    csr_attributes: bytes | None = None
    offers_attributes: bool = True


@dataclass
class Call:
    """One request on its way through an operation.

    :param origin: where it came from.
    :param facts: what else the audit record of this call will say, by its fields; operations add to it.
    """

    request: Request
    label: Label
    caller: Caller
    origin: Origin = field(default_factory=Origin)
    facts: dict[str, object] = field(default_factory=dict)

    def body(self) -> bytes:
        """The request's body; its size is bounded by the channel.

        :raises RequestError: the client went away while its password was checked, and Twisted has closed the body.
        """
        content = self.request.content
        if content is not None and content.closed:
            raise RequestError(Kind.MALFORMED, "The connection ended before the request was looked at: send it again.")
        return b"" if content is None else content.read()


Operation = Callable[[Any, Call], Awaitable[Answer]]


class Gate:
    """Finds the label, authenticates the caller, and turns every error into an answer and an audit record.

    :param labels: by name; None stands for the addresses without a label.
    :param retry_after: seconds that 503 and 504 tell a client to wait.
    :param audit: takes one record for each call that the policy guards, whatever came of it.
    :param began: told of each operation, for the metrics.
    """

    def __init__(
        self,
        labels: Mapping[str | None, Label],
        passwords: Passwords,
        retry_after: int,
        audit: Audit,
        began: Began = lambda _operation, _label: lambda _outcome: None,
    ) -> None:
        self._labels = labels
        self._passwords = passwords
        self._retry_after = retry_after
        self._audit = audit
        self._began = began

    def serve(
        self,
        request: Request,
        name: str | None,
        access: Access,
        perform: Callable[[Call], Awaitable[Answer]],
        operation: str,
    ) -> Deferred[bytes]:
        """Answer one request.

        Klein cancels the Deferred when the client goes away: the waiting ends then, and with it what a waiting client
        costs. What was submitted to a CA goes on by itself (:mod:`kipuka.enrollment.submission`).
        """
        ended = self._began(operation, name)

        async def work() -> bytes:
            try:
                answer = await self._answer(request, name, access, perform, operation)
            except BaseException as error:
                ended("gone" if isinstance(error, CancelledError) else Kind.INTERNAL.value)
                raise
            ended(answer.outcome)
            if answer.written is not None:
                # In this request's context, whose reference the log and the audit name.
                channel, written = cast("LimitedChannel", request.channel), partial(copy_context().run, answer.written)
                request.notifyFinish().addCallbacks(lambda _: channel.when_sent(written), lambda _: None)
            return prepare(request, answer)

        return Deferred.fromCoroutine(work())

    async def _answer(
        self,
        request: Request,
        name: str | None,
        access: Access,
        perform: Callable[[Call], Awaitable[Answer]],
        operation: str,
    ) -> Answer:
        origin, reference = session.origin(request), session.reference(request)
        facts: dict[str, object] = {**asdict(origin), "operation": operation, "label": name}
        checks_password = False
        error: KipukaError
        try:
            label = self._labels.get(name)
            if label is None:
                raise RequestError(Kind.NOT_FOUND, "There is no such label here: check the address.")  # noqa: TRY301
            issuers = session.verified_chain(request)[1:]
            caller = Caller(session.client_certificate(request), None, str(origin.address), issuers)
            if access is Access.ADMITTED:
                checks_password = True
                caller = await self._authenticate(request, label.policy, caller)
                checks_password = False
                facts["caller"] = caller.name
                caller = label.policy.admit(caller)
                facts["caller"] = caller.name
            answer = await perform(Call(request, label, caller, origin, facts))
        except KipukaError as known:
            error = known
        except CancelledError:
            self._audit(Record.of(AuditEvent.CLIENT_GONE, facts))
            raise
        except Exception:
            _log.failure("request {reference} failed", reference=reference)
            error = RequestError(Kind.INTERNAL, "Something went wrong in kipuka: tell its administrator.")
        else:
            if access is Access.ADMITTED:
                self._audit(Record.of(AuditEvent.ENROLLMENT, facts))
            return answer
        wrong_password = checks_password and error.kind is Kind.UNAUTHENTICATED
        event = AuditEvent.PASSWORD_REFUSED if wrong_password else AuditEvent.REFUSAL
        why = {"outcome": "refused", "kind": error.kind.value, "reason": error.text, "cause": error.cause}
        self._audit(Record.of(event, facts | why))
        bare = wants_bare_challenge(request)
        answer = refusal(error, self._retry_after, reference, bare_challenge=bare)
        return replace(answer, written=error.written)

    async def _authenticate(self, request: Request, policy: Policy, caller: Caller) -> Caller:
        """Check the password, if one is shown and the label uses them."""
        credentials = basic_credentials(request) if policy.uses_passwords else None
        if credentials is None:
            return caller
        user = await self._passwords.verify(*credentials)
        return replace(caller, user=user)


def operation(app: Klein, name: str, method: str, access: Access) -> Callable[[Operation], Operation]:
    """Route ``/.well-known/est/<name>``, and the same with a label, to a method of a class that has a ``gate``.

    The third address, with the label in front, is what strongSwan before 5.9.13 makes of a path in its ``--url``.
    """

    def decorate(perform: Operation) -> Operation:
        def handle(self: Any, request: Request, label: str | None = None) -> Deferred[bytes]:
            gate: Gate = self.gate
            return gate.serve(request, label, access, lambda call: perform(self, call), name)

        handle.__name__ = perform.__name__
        for address in (f"{_ROOT}/{name}", f"{_ROOT}/<label>/{name}", f"/<label>{_ROOT}/{name}"):
            app.route(address, methods=[method])(handle)
        return perform

    return decorate


def plain_errors(app: Klein) -> None:
    """Answer in plain text where no operation is reached (RFC 7030 §4.2.3)."""

    @app.handle_errors(MethodNotAllowed)
    def wrong_method(self: Any, request: IRequest, failure: Failure) -> bytes:  # noqa: ARG001 - Klein's
        allowed = sorted(set(getattr(failure.value, "valid_methods", None) or ()))
        return prepare(
            cast("Request", request),
            text(405, f"Use {' or '.join(allowed)} at this address.", ("Allow", ", ".join(allowed))),
        )

    @app.handle_errors(HTTPException)
    def nothing_here(self: Any, request: IRequest, failure: Failure) -> bytes:  # noqa: ARG001 - Klein's
        return prepare(
            cast("Request", request), text(404, "There is nothing here: EST operations are below /.well-known/est/.")
        )
