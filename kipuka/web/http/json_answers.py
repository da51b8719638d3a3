"""Answers in JSON, for all that is not EST: administrators' programs, health checks, monitoring.

Errors have the shape ``{"error": code, "message": text}``: the code is for programs and does not change, the text is
for a person and says what to do.
"""

from __future__ import annotations

import json

from kipuka.web.http.answers import Answer

MEDIA_TYPE = "application/json"
_FIRST_SERVER_ERROR = 500
_CODES = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "unsupported_type",
    429: "too_many",
    501: "not_offered",
    503: "busy",
}
"""As :class:`kipuka.errors.Kind` has them, where it has one."""


def answer(status: int, value: object, *headers: tuple[str, str]) -> Answer:
    """Answer with a value that JSON can hold. Nothing of it is kept in a cache: it is true now, and for this caller.

    :raises TypeError: the value is not made of dicts, lists, text, numbers, booleans and None.
    :raises ValueError: a number in it is not finite; JSON has no word for it.
    """
    body = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
    return Answer(status, MEDIA_TYPE, body, (("Cache-Control", "no-store"), *headers))


def error(status: int, code: str, message: str, *headers: tuple[str, str]) -> Answer:
    """Answer that it cannot be done.

    :param code: lower-case words with underscores, for programs.
    :param message: one sentence: what is wrong and what to do. No secrets, paths or host names.
    """
    return answer(status, {"error": code, "message": message}, *headers)


def code_of(status: int) -> str:
    """The code of an error of which no more is known than its status."""
    return _CODES.get(status, "malformed" if status < _FIRST_SERVER_ERROR else "internal")


def of_text(plain: Answer) -> Answer:
    """Say in JSON what an answer says in plain text, as the parts below the rooms do; others stay as they are."""
    if not plain.media_type.startswith("text/plain"):
        return plain
    return error(plain.status, code_of(plain.status), plain.body.decode().strip(), *plain.headers)
