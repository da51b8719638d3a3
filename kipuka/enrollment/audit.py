"""What the audit says of the events of the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

from kipuka.enrollment.ledger.states import Event
from kipuka.observe.audit.record import AuditEvent, Origin, Record
from kipuka.store.rows import Enrollment

NOWHERE = Origin()
"""Nobody's request brought the event: the CA did, or an administrator."""


class Attests(Protocol):
    """Where events are written down besides the database, and what they are called there."""

    def stamped(self, record: Record) -> Record:
        """The record with all that is the same for every record. Called in threads."""
        ...

    def repeat(self, record: Record) -> None:
        """Write it down some time."""
        ...

    async def attest(self, record: Record) -> None:
        """Write it down, now.

        :raises AuthorityError: it could not be.
        """
        ...


def describe(event: Event, row: Enrollment, origin: Origin = NOWHERE) -> Record:
    """The record of an event: the same each time it is asked for.

    :param row: as it is after the event.
    """
    wanted = row.application
    return Record(
        **asdict(origin),
        event=AuditEvent(f"enrollment {event.value}"),
        time=row.updated,
        caller=wanted.caller,
        operation=wanted.operation,
        label=wanted.label,
        ca=wanted.ca_id,
        subject=wanted.subject,
        serial=row.serial,
        enrollment=row.id,
        request=row.request_id,
        outcome=row.state.value,
        reason=row.reason,
    )
