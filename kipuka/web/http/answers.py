"""The answers of EST over HTTP, as values, and the one place that writes them out.

Rules of clients that exist: Content-Length always and never chunked, canonical field names, the decisive fields first,
a header block of at most 1024 bytes and 16 fields (strongSwan, libest).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.web.http import RESPONSES, Request, datetimeToString

from kipuka.est import media

_NO_CONTENT, _NOT_MODIFIED = 204, 304
_FIRST_SUCCESS, _FIRST_ERROR = 200, 400


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer.

    :param headers: fields beside Content-Type and Content-Length, in the order they are to be sent.
    :param written: called when the answer's last byte was sent, and never when the connection had ended before that.
    :param outcome: what the metrics call it: ``issued``, ``pending``, ``answered``, or the kind of an error.
    """

    status: int
    media_type: str = ""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    written: Callable[[], None] | None = None
    outcome: str = "answered"


def text(status: int, sentence: str, *headers: tuple[str, str]) -> Answer:
    """Answer in plain text for a person (RFC 7030 §4.2.3, RFC 8951 §5)."""
    return Answer(status, "text/plain; charset=utf-8", sentence.encode() + b"\n", headers)


def with_reference(answer: Answer, reference: str) -> Answer:
    """Add what the log calls a request to an answer in plain text."""
    return replace(answer, body=answer.body.rstrip(b"\n") + f" (reference {reference})\n".encode())


def payload(media_type: str, der: bytes, wrap: int | None) -> Answer:
    """Answer with base64 of DER.

    RFC 8951 §3 makes Content-Transfer-Encoding meaningless, but Bouncy Castle and libest do not decode without it.
    """
    return Answer(200, media_type, media.encode_base64(der, wrap), (("Content-Transfer-Encoding", "base64"),))


def no_content() -> Answer:
    """There is nothing to say, and that is fine."""
    return Answer(_NO_CONTENT)


def fields(answer: Answer) -> list[tuple[str, str]]:
    """All header fields of an answer, in order; 204 has no length, and 304 not that of its body (RFC 9110 §8.6)."""
    if answer.status in (_NO_CONTENT, _NOT_MODIFIED):
        return list(answer.headers)
    return [("Content-Type", answer.media_type), ("Content-Length", str(len(answer.body))), *answer.headers]


def reason(status: int) -> bytes:
    """The reason phrase of a status line."""
    phrase: bytes = RESPONSES.get(status, b"Unknown")
    return phrase


def date() -> str:
    """Now, for the field Date, which every answer has (RFC 9110 §6.6.1)."""
    now: bytes = datetimeToString()
    return now.decode("ascii")


def prepare(request: Request, answer: Answer) -> bytes:
    """Put status and header fields on the request; what is returned is the body to write."""
    connection = request.responseHeaders.getRawHeaders("Connection") or ()
    request.setResponseCode(answer.status, reason(answer.status))
    for present, _ in list(request.responseHeaders.getAllRawHeaders()):
        request.responseHeaders.removeHeader(present)
    usual = [("Server", "kipuka"), ("Date", date()), *(("Connection", each) for each in connection)]
    for name, value in [*fields(answer), *usual]:
        request.responseHeaders.addRawHeader(name, value)
    return answer.body
