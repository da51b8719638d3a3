"""The parameters and the body that the operations of the admin API take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kipuka.enrollment.ledger.records import State
from kipuka.errors import Kind, RequestError
from kipuka.web.admin.parameters import (
    CURSOR_PATTERN,
    LARGEST_PAGE,
    LONGEST_TEXT,
    SERIAL_PATTERN,
    TEXT_PATTERN,
    USUAL_PAGE,
    Parameter,
    moment,
    name,
    number,
    one_of,
    page_size,
    read,
    read_cursor,
    serial_number,
    shown,
    words,
)

_STATES = [state.value for state in State]
_NAME_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,64}$"}
_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT, "pattern": TEXT_PATTERN}
_TIME_SCHEMA = {"type": "string", "format": "date-time"}

ID = Parameter("id", "The enrollment's number.", number, {"type": "integer", "minimum": 1, "maximum": 2**63 - 1})
SERIAL = Parameter(
    "serial",
    "Serial number of the certificate: hexadecimal with or without 0x or colons, or decimal:NUMBER.",
    serial_number,
    {"type": "string", "pattern": SERIAL_PATTERN},
)
STATE = Parameter(
    "state",
    "In this state; may be given several times.",
    one_of(_STATES),
    {"type": "array", "items": {"type": "string", "enum": _STATES}},
    many=True,
)
CA = Parameter("ca_id", "Of this CA, by its id in the configuration.", name, _NAME_SCHEMA)
LABEL = Parameter("label", "Asked for under this label.", name, _NAME_SCHEMA)
CALLER = Parameter("caller", "With this text in the caller's name, in upper or lower case.", words, _TEXT_SCHEMA)
WHO = Parameter("who", "With this text in the name of whoever did it, in upper or lower case.", words, _TEXT_SCHEMA)
SUBJECT = Parameter("subject", "With this text in the subject that was asked for.", words, _TEXT_SCHEMA)
SINCE = Parameter("since", "At or after this time (RFC 3339).", moment, _TIME_SCHEMA)
UNTIL = Parameter("until", "Before this time (RFC 3339).", moment, _TIME_SCHEMA)
EVENT = Parameter("event", "Records of this event.", words, _TEXT_SCHEMA)
LIMIT = Parameter(
    "limit",
    f"How many at most; {USUAL_PAGE} if not given.",
    page_size,
    {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": USUAL_PAGE},
)
CURSOR = Parameter(
    "cursor",
    'What the page before gave as "next".',
    read_cursor,
    {"type": "string", "pattern": CURSOR_PATTERN},
)

REVOCATION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["serial"],
    "additionalProperties": False,
    "properties": {
        "serial": SERIAL.schema,
        "reason": {"type": "string", "default": "unspecified", "description": "A name of RFC 5280 section 5.3.1."},
        "ca_id": _NAME_SCHEMA,
    },
}


@dataclass(frozen=True)
class WantedRevocation:
    """The body of a revocation, read."""

    serial: int
    reason: str
    ca_id: str | None


def revocation(value: Any, reasons: Sequence[str]) -> WantedRevocation:
    """Read the body of a revocation.

    :param reasons: the names that are known.
    :raises RequestError: MALFORMED, saying what is wrong with which name.
    """
    if not isinstance(value, dict):
        raise _malformed('The body is not a JSON object: send {"serial": "0x1A2B", "reason": "keyCompromise"}.')
    if unknown := value.keys() - REVOCATION["properties"]:
        known = ", ".join(REVOCATION["properties"])
        raise _malformed(f'There is no "{shown(min(unknown))}" in a revocation: known are {known}.')
    if "serial" not in value:
        raise _malformed('The "serial" is missing: send the serial number of the certificate.')
    reason = _text(value, "reason", "unspecified")
    if reason not in reasons:
        raise _malformed(f'There is no reason "{shown(reason)}": known are {", ".join(reasons)}.')
    serial = read(SERIAL, _text(value, "serial", ""))
    ca_id = read(CA, _text(value, "ca_id", "")) if "ca_id" in value else None
    return WantedRevocation(serial, reason, ca_id)


def _text(value: dict[str, Any], key: str, otherwise: str) -> str:
    found = value.get(key, otherwise)
    if not isinstance(found, str):
        raise _malformed(f'The "{key}" must be text: put it in quotes (a number would not say how it is written).')
    return found


def _malformed(text: str) -> RequestError:
    return RequestError(Kind.MALFORMED, text)
