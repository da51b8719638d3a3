"""The only place that knows which HTTP status a kind of error becomes."""

from __future__ import annotations

from dataclasses import replace

from kipuka.errors import Kind, KipukaError
from kipuka.web.http.answers import Answer, text, with_reference

_STATUS = {
    Kind.MALFORMED: 400,
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.REFUSED: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_TYPE: 415,
    Kind.TOO_MANY: 429,
    Kind.INTERNAL: 500,
    Kind.NOT_OFFERED: 501,
    # The CA not accepting kipuka itself is not the client's 401 or 403.
    Kind.MISCONFIGURED: 502,
    Kind.BAD_ANSWER: 502,
    Kind.UNREACHABLE: 503,
    Kind.BUSY: 503,
    Kind.UNDECIDED: 503,
    Kind.NO_ANSWER: 504,
}
_LATER = {
    # A Dogtag that has lost its directory knows its agents no more and fails at all else, until it has it back.
    Kind.MISCONFIGURED,
    Kind.BAD_ANSWER,
    Kind.UNREACHABLE,
    Kind.TOO_MANY,
    Kind.BUSY,
    Kind.UNDECIDED,
    Kind.NO_ANSWER,
}
REALM = "kipuka"


def status_of(kind: Kind) -> int:
    """The HTTP status of a kind of error."""
    return _STATUS[kind]


def is_for_later(kind: Kind) -> bool:
    """Whether the same request may do better later, so that the answer has Retry-After."""
    return kind in _LATER


def refusal(error: KipukaError, retry_after: int, reference: str = "", *, bare_challenge: bool = False) -> Answer:
    """The answer for an error.

    :param retry_after: seconds, sent as a number: a date is zero to strongSwan.
    :param reference: what the log and the audit call this refusal; empty leaves it out.
    :param bare_challenge: leaves the body of a 401 out, see :func:`kipuka.web.est.authentication.wants_bare_challenge`.
    """
    headers: list[tuple[str, str]] = []
    if is_for_later(error.kind):
        headers.append(("Retry-After", str(max(1, retry_after))))
    if error.kind is Kind.UNAUTHENTICATED:
        headers.append(("WWW-Authenticate", f'Basic realm="{REALM}", charset="UTF-8"'))
    answer = replace(text(status_of(error.kind), error.text, *headers), outcome=error.kind.value)
    if reference:
        answer = with_reference(answer, reference)
    bare = bare_challenge and error.kind is Kind.UNAUTHENTICATED
    return replace(answer, body=b"") if bare else answer
