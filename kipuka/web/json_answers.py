"""Answers in JSON, for all that is not EST: administrators' programs, health checks, monitoring.

Errors have the shape ``{"error": code, "message": text}``: the code is for programs and does not change, the text is
for a person and says what to do.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from kipuka.web.answers import Answer

MEDIA_TYPE = "application/json"


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
    """The code of an error that nothing more is known of than its status: ``not_found`` for 404."""
    return HTTPStatus(status).name.lower()
