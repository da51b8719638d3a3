"""One record of the audit: what is said of an event, and its JSON. No I/O here.

The JSON is ASCII in one line: a line break, a control character or a mark that turns the direction of writing, from
whatever name of a certificate or a user, is an escape in it and can neither forge a line nor fool a terminal. No record
holds a password, a key or a CSR.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Self

LONGEST = 1024
"""Characters of one field; what is cut ends in an ellipsis."""
LARGEST = 8192
"""Bytes of one record: one that would be larger has its fields cut to :data:`SHORT` characters."""
SHORT = 64
_NOTHING: Mapping[str, object] = MappingProxyType({})


class AuditEvent(Enum):
    """What happened. The value is what the record says."""

    STARTED = "started"
    STOPPED = "stopped"
    RELOADED = "reloaded"
    """The configuration was read again; the outcome says whether it is used."""
    CONFIGURED = "configured"
    """Who has a user's password or an administrator's token: at the start, and when that has changed."""

    # What became of a request, one record for each request that a policy guards or that was refused.
    ENROLLMENT = "enrollment"
    """The client was answered: with a certificate, or that the request waits for approval."""
    REFUSAL = "refusal"
    PASSWORD_REFUSED = "password refused"  # noqa: S105 - the name of an event
    CLIENT_GONE = "client gone"
    CERTIFICATE_REFUSED = "client certificate refused"
    """A TLS handshake ended because of the client's certificate."""

    # What became of an enrollment, whether its client waits for it or not: "enrollment" and the event of the ledger.
    TAKEN = "enrollment taken"
    """It is about to be sent to its CA: not before this is written down."""
    NOT_SENT = "enrollment not sent"
    LOST = "enrollment answer lost"
    GRANTED = "enrollment granted"
    DEFERRED = "enrollment deferred"
    REFUSED = "enrollment refused"
    ABSENT = "enrollment absence proven"
    WRITTEN = "enrollment written out"
    TOLD = "enrollment told"
    OUTDATED = "enrollment outdated"
    ABANDONED = "enrollment abandoned"

    REVOCATION = "revocation"
    """Somebody asked for a certificate to be revoked, put on hold or released; the outcome says what came of it."""
    ADMIN = "admin action"
    ADMIN_REFUSED = "admin refusal"
    CA_STATE = "ca state"
    """A CA was taken out of use or into use again."""

    FILE_CHANGED = "audit file changed"
    """Somebody else removed or exchanged records in the file while the daemon had it; the reason says what it found."""
    RECORDS_LOST = "audit records lost"
    """So many records could not be written to this place; ``count`` says how many."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a request came from.

    :param reference: what a refused client is told, for finding this record.
    :param address: IP address.
    :param tls: protocol version of the connection, as OpenSSL calls it.
    :param cipher: its cipher suite, as OpenSSL calls it.
    :param certificate: subject of the certificate the client showed, RFC 4514.
    :param certificate_issuer: who issued it, RFC 4514: the name that this CA has, or goes by.
    :param certificate_serial: its serial number, hexadecimal with 0x.
    """

    reference: str | None = None
    address: str | None = None
    tls: str | None = None
    cipher: str | None = None
    certificate: str | None = None
    certificate_issuer: str | None = None
    certificate_serial: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record(Origin):
    """One event. What there is nothing to say about is None; the order of the fields is that of the JSON.

    :param time: when; the trail fills it in.
    :param node: the machine it happened on; the trail fills it in.
    :param caller: who, as :attr:`kipuka.access.identity.Caller.name` has it, or an administrator's name.
    :param operation: of EST or of the admin API.
    :param label: the one in the path.
    :param ca: the id of the CA.
    :param subject: of the certificate it is about, or that was asked for.
    :param serial: of the certificate it is about, hexadecimal with 0x.
    :param enrollment: its number in the ledger.
    :param request: the CA's own number of the request.
    :param outcome: what came of it, in one word.
    :param kind: of a refusal: see :class:`kipuka.errors.Kind`.
    :param reason: why, in a sentence; what a client was told.
    :param cause: what the client was not told.
    :param errno: OpenSSL's X509_V_ERR number.
    :param depth: 0 for the client's own certificate, 1 for its issuer.
    :param count: of lost records, or of those whom the reason names.
    """

    event: AuditEvent
    time: datetime | None = None
    node: str | None = None
    caller: str | None = None
    operation: str | None = None
    label: str | None = None
    ca: str | None = None
    subject: str | None = None
    serial: str | None = None
    enrollment: int | None = None
    request: str | None = None
    outcome: str | None = None
    kind: str | None = None
    reason: str | None = None
    cause: str | None = None
    errno: int | None = None
    depth: int | None = None
    count: int | None = None

    @classmethod
    def of(cls, event: AuditEvent, facts: Mapping[str, Any]) -> Self:
        """Make one of facts that were collected on the way.

        :raises TypeError: one of them is no field of a record.
        """
        return cls(event=event, **facts)

    def values(self, longest: int = LONGEST) -> dict[str, str | int]:
        """What there is to say, in the order of the JSON, bounded."""
        found: dict[str, str | int] = {}
        for name in _ORDER:
            match getattr(self, name):
                case None | "":
                    continue
                case int() as number:
                    found[name] = number
                case Enum() as member:
                    found[name] = member.value
                case datetime() as time:
                    found[name] = written(time)
                case value:
                    found[name] = _cut(str(value), longest)
        return found


Audit = Callable[[Record], None]
"""Takes a record; never raises for trouble with writing it down."""

_FIRST = ("time", "event", "node")
_ORDER = (*_FIRST, *(each.name for each in fields(Record) if each.name not in _FIRST))


def written(time: datetime) -> str:
    """A time as records have it: ISO 8601 in UTC, to the microsecond."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def to_json(values: Mapping[str, object]) -> str:
    """One line of printable ASCII, whatever the values are."""
    return json.dumps(values, ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


def line(record: Record, before: Mapping[str, object] = _NOTHING, after: Mapping[str, object] = _NOTHING) -> str:
    """The record as one line, with what a chain puts before and after its own fields."""
    text = to_json({**before, **record.values(), **after})
    return text if len(text) <= LARGEST else to_json({**before, **record.values(SHORT), **after})


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
