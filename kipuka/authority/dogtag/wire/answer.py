"""An answer of Dogtag's, and the parts its JSON is made of."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from kipuka.errors import AuthorityError, Kind

# 160 bits of serial number (RFC 5280 §4.1.2.2) are 40 hexadecimal or 49 decimal digits; twice that is generous.
_ID = re.compile(r"0[xX][0-9a-fA-F]{1,80}|[0-9]{1,98}")
_TEXT_LIMIT = 200


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP. ``content_type`` and ``date`` are empty when the server sent none."""

    status: int
    content_type: str
    body: bytes
    date: str = field(default="", compare=False)
    """The server's clock, as its Date header has it."""

    @property
    def is_json(self) -> bool:
        """Dogtag mixes JSON with Tomcat's HTML pages and empty bodies: look before parsing."""
        return self.content_type.split(";")[0].strip().lower() == "application/json"


def parse_id(value: object) -> int:
    """Read an id of any size: 10.x writes decimal, 11.x and certificate ids "0x" and hexadecimal.

    :raises AuthorityError: BAD_ANSWER, when it is neither.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        bad(f"not an id: {printable(repr(value))}")
    return int(value, 16 if value[:2] in ("0x", "0X") else 10)


def printable(text: str) -> str:
    """Return foreign text as one line of at most 200 printable characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: _TEXT_LIMIT * 4]).split())
    return line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…"


def message(answer: Answer) -> str:
    """Return the error text of an answer, or as much of the body as helps; always one printable line."""
    if answer.is_json:
        try:
            text = mapping(parse(answer), "error").get("Message")
        except AuthorityError:
            text = None
        if isinstance(text, str):
            return printable(text)
    title = re.search(rb"<title>(.{1,200}?)</title>", answer.body, re.DOTALL)
    return printable((title[1] if title else answer.body[:1000]).decode("utf-8", "replace"))


def parse(answer: Answer) -> object:
    """Return the JSON of an answer."""
    if not answer.is_json:
        bad(f"{answer.content_type or 'no content type'} instead of JSON: {printable(repr(answer.body[:300]))}")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        bad(f"not JSON: {printable(str(error))}")


def mapping(value: object, what: str) -> dict[str, Any]:
    """Return the value if it is an object."""
    return value if isinstance(value, dict) else bad(f"{what} is no object")


def sequence(value: object, what: str) -> list[Any]:
    """Return the value if it is a list."""
    return value if isinstance(value, list) else bad(f"{what} is no list")


def text(value: object, what: str) -> str:
    """Return the value if it is text and not empty."""
    return value if isinstance(value, str) and value else bad(f"{what} is missing or no text")


def optional_text(value: object, what: str) -> str:
    """Return the value if it is text, "" when there is none."""
    return "" if value is None or value == "" else text(value, what)


def bad(cause: str) -> NoReturn:
    """Say that the answer is not what was promised."""
    raise AuthorityError(
        Kind.BAD_ANSWER,
        "The CA gave an answer that cannot be understood: try again later and, if it stays so, tell the administrator.",
        cause,
    )
