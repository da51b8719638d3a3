"""Records to write down."""

from __future__ import annotations

from datetime import UTC, datetime

from kipuka.observe.audit.chain import BEGINNING, Link, Walk, seal
from kipuka.observe.audit.record import AuditEvent, Record

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


def record(number: int = 1, event: AuditEvent = AuditEvent.GRANTED) -> Record:
    return Record(event=event, time=NOW, node="ra1", enrollment=number, subject=f"CN=device-{number}")


def chain(length: int, last: Link = BEGINNING) -> list[str]:
    """Lines, without their ends."""
    lines = []
    for number in range(length):
        line, last = seal(record(number), last)
        lines.append(line)
    return lines


def faults(lines: list[str]) -> list[str]:
    walk = Walk()
    return [fault for line in lines for fault in walk.step(line)]
