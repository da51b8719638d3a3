"""Parameters of requests: how each is read, and how it is described. What is not described is refused by name."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from kipuka.errors import Kind, RequestError

Schema = Mapping[str, Any]

MOST_PARAMETERS = 50
LARGEST_PAGE = 1000
USUAL_PAGE = 50
LONGEST_TEXT = 200
TEXT_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"
"""No control characters."""
_LARGEST_ID = 2**63 - 1

SERIAL_PATTERN = "^(0[xX])?[0-9A-Fa-f]{1,40}$|^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){0,19}$|^decimal:[0-9]{1,48}$"
"""160 bits at most, as in RFC 5280 §4.1.2.2."""
_SERIAL = re.compile(SERIAL_PATTERN)
_TEXT = re.compile(TEXT_PATTERN)
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_CURSOR_BYTES = 8
CURSOR_PATTERN = "^[A-Za-z0-9_-]{11}$"
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)((?:\.\d{1,9})?)([Zz]|[+ -]\d\d:\d\d)", re.ASCII
)  # RFC 3339 §5.6


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    :param read: makes a value of the text; raises ValueError saying what is expected.
    :param schema: the same for programs, in JSON Schema.
    :param many: whether it may be given several times; its value is a tuple then.
    """

    name: str
    description: str
    read: Callable[[str], Any]
    schema: Schema
    many: bool = False


def query(uri: bytes, known: Sequence[Parameter]) -> dict[str, Any]:
    """Read the query of a request's target; parameters that are left out are not in the result.

    :raises RequestError: MALFORMED, naming the parameter.
    """
    try:
        text = uri.partition(b"?")[2].decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:  # UnicodeDecodeError is one
        raise RequestError(
            Kind.MALFORMED, "The query cannot be read: write name=value pairs, percent-encoded, with & between."
        ) from None
    parameters = {parameter.name: parameter for parameter in known}
    values: dict[str, Any] = {}
    for name, value in pairs:
        parameter = parameters.get(name)
        if parameter is None:
            takes = f"known are {', '.join(parameters)}" if parameters else "there are none here"
            raise RequestError(Kind.MALFORMED, f'There is no parameter "{shown(name)}": {takes}.')
        found = read(parameter, value)
        if parameter.many:
            values[name] = (*values.get(name, ()), found)
        elif name in values:
            raise RequestError(Kind.MALFORMED, f'The parameter "{name}" is given twice: give it once.')
        else:
            values[name] = found
    return values


def read(parameter: Parameter, text: str) -> Any:
    """Read one value.

    :raises RequestError: MALFORMED, naming the parameter.
    """
    try:
        return parameter.read(text)
    except ValueError as error:
        raise RequestError(
            Kind.MALFORMED, f'The value of "{parameter.name}" cannot be used: {error}, not "{shown(text)}".'
        ) from None


def shown(text: str) -> str:
    """What a client sent, short and printable."""
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return "".join(mark if mark.isprintable() else "?" for mark in short)


# --- how values are read


def serial_number(text: str) -> int:
    """Read a serial number: ``0x1A2B``, ``1A2B`` or ``1A:2B``, or decimal where it says so, ``decimal:6699``.

    :raises ValueError: it is none.
    """
    if not _SERIAL.fullmatch(text):
        raise ValueError("expected hexadecimal like 0x1A2B or 1A:2B, or decimal:6699")
    if text.startswith("decimal:"):
        return int(text.removeprefix("decimal:"))
    return int(text.replace(":", ""), 16)


def moment(text: str) -> datetime:
    """Read a time (RFC 3339); a ``+`` that became a blank in a query is taken for what it was.

    :raises ValueError: it is none.
    """
    expected = "expected a time like 2026-01-31T12:00:00Z"
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(expected)
    date, minutes, seconds, fraction, zone = match.groups()
    seconds = min(seconds, "59") if seconds == "60" else seconds  # a leap second, which Python does not know
    zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    try:
        found = datetime.fromisoformat(f"{date}T{minutes}{seconds}{fraction[:7]}{zone}")
    except ValueError:
        raise ValueError(expected) from None
    try:
        return found.astimezone(UTC)
    except OverflowError:  # before the year 1 or after 9999 in UTC
        return found.replace(tzinfo=UTC)


def name(text: str) -> str:
    """Read the name of a CA or label.

    :raises ValueError: it is none.
    """
    if not _NAME.fullmatch(text):
        raise ValueError("expected 1 to 64 letters, digits and - _ . ~")
    return text


def words(text: str) -> str:
    """Read a part of a name.

    :raises ValueError: it is empty, too long, or not to be written.
    """
    if len(text) > LONGEST_TEXT or not _TEXT.fullmatch(text):
        raise ValueError(f"expected 1 to {LONGEST_TEXT} characters, none of them a control character")
    return text


def number(text: str) -> int:
    """Read the number of a row.

    :raises ValueError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) or not 0 < int(text) <= _LARGEST_ID:
        raise ValueError("expected a number from 1")
    return int(text)


def page_size(text: str) -> int:
    """Read how many are asked for.

    :raises ValueError: too many, or none.
    """
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_PAGE:
        raise ValueError(f"expected a number from 1 to {LARGEST_PAGE}")
    return int(text)


def cursor(last: int) -> str:
    """What leads to the page after the one that ends with this row; its inside is nobody else's business."""
    return base64.urlsafe_b64encode(last.to_bytes(_CURSOR_BYTES)).decode().rstrip("=")


def read_cursor(text: str) -> int:
    """Read what :func:`cursor` made.

    :raises ValueError: it made something else.
    """
    if not re.fullmatch(CURSOR_PATTERN, text, re.ASCII):
        raise ValueError("expected the next of the page before, as it was")
    return int.from_bytes(base64.urlsafe_b64decode(f"{text}="))


def one_of(values: Iterable[str]) -> Callable[[str], str]:
    """Make a reader of one of these words."""
    known = tuple(values)

    def read_word(text: str) -> str:
        if text not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return text

    return read_word
