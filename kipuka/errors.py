"""The one tree of errors that may end a request.

    KipukaError
    ├── RequestError      the caller's fault: asking again unchanged gives the same answer
    └── AuthorityError    the CA's word or trouble; the kind says whose fault it is

Every error carries a kind, a text that is safe to show to the client (what is wrong and what to do), and a cause
for the log only. HTTP numbers live in ``kipuka.web.http.errors`` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Kind(Enum):
    """Why a request ended. The value is the code shown in logs and audit records."""

    MALFORMED = "malformed"
    """The bytes are not what the operation takes."""
    TOO_LARGE = "too_large"
    UNSUPPORTED_TYPE = "unsupported_type"
    """The body's media type is not the operation's."""
    UNAUTHENTICATED = "unauthenticated"
    """Credentials are missing or wrong, and better ones over HTTP would help."""
    FORBIDDEN = "forbidden"
    """The caller is known and may not have this."""
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    """What is asked for does not fit the state things are in, or leaves open which of several is meant."""
    NOT_OFFERED = "not_offered"
    """An operation of EST that this server or label does not offer."""

    REFUSED = "refused"
    """The CA's policy, or one of its agents, said no."""
    INVALID = "invalid"
    """The CA could not use the request (for example a CSR it cannot read)."""
    MISCONFIGURED = "misconfigured"
    """The CA does not accept kipuka itself: credential, group, profile."""
    BAD_ANSWER = "bad_answer"
    """The CA answered, but not with what the operation promises."""
    UNREACHABLE = "unreachable"
    """The request certainly did not reach the CA: it may be sent again."""
    NO_ANSWER = "no_answer"
    """The request was sent and its answer was lost: the CA may have issued."""

    UNDECIDED = "undecided"
    """What became of the request at the CA is being found out."""

    TOO_MANY = "too_many"
    """The caller has failed too often in a short time."""
    BUSY = "busy"
    """kipuka has as much in hand as it takes; later is better."""
    INTERNAL = "internal"


class KipukaError(Exception):
    """An error with a text for the client and, apart from it, a cause for the log.

    :param kind: why; decides how the caller is answered.
    :param text: one sentence for the client: what is wrong and what to do. No secrets, paths or host names.
    :param cause: detail for the log, never shown to the client.
    """

    written: Callable[[], None] | None = None
    """To be called when the client has been told."""

    def __init__(self, kind: Kind, text: str, cause: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}" + (f" ({self.cause})" if self.cause else "")


class RequestError(KipukaError):
    """The request itself cannot be granted."""


class AuthorityError(KipukaError):
    """A CA refused, failed, or could not be asked."""

    connection_refused = False
    """Whether nothing listened where the CA should: its process is gone, and with it whatever that had in hand. Every
    other reason for which a CA cannot be reached leaves open whether it goes on working."""
