"""The audit's chain in the database. One chain, however many nodes write it: whoever appends holds its end.

Records are written whole, as the lines they would be in a file; the other columns are copies, for finding them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import sqlite

from kipuka.observe.audit.chain import Broken, Entry, Link, Walk, read, seal
from kipuka.observe.audit.record import AuditEvent, Record, written
from kipuka.store.database.engine import Database
from kipuka.store.schema import Words, audit, audit_end

_AT_ONCE = 500
_PAGE = 1001
"""A thousand, and one to know whether there are more."""
_LARGEST = 2**63 - 1

# Built once, as those of the ledger: there is one of each for every move of a row.
_END = select(audit_end.c.seq, audit_end.c.hash).where(audit_end.c.id == 1)
_HOLD_END = _END.with_for_update()
_MOVE_END = update(audit_end).where(audit_end.c.id == 1).values(seq=bindparam("new_seq"), hash=bindparam("new_hash"))
_ADD = insert(audit)


class Filters(TypedDict, total=False):
    """Which records: those that fit all that is given.

    :param who: a part of the caller's name, in upper or lower case.
    :param since: at or after this time.
    :param until: before this time.
    """

    events: Collection[AuditEvent] | None
    ca_id: str | None
    label: str | None
    who: str | None
    since: datetime | None
    until: datetime | None


def append(connection: Connection, records: Sequence[Record]) -> None:
    """Add records to the chain, as a part of the transaction. From here to its end others that append wait."""
    seq, digest = connection.execute(_HOLD_END).one()
    link = Link(seq, digest)
    rows = []
    for record in records:
        line, link = seal(record, link)
        rows.append({"seq": link.seq, "time": record.time, "line": line, **_copied(json.loads(line))})
    connection.execute(_ADD, rows)
    connection.execute(_MOVE_END, {"new_seq": link.seq, "new_hash": link.hash})


class AuditTable:
    """The records of a store. All methods raise :class:`~kipuka.store.errors.StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, records: Sequence[Record]) -> None:
        """Write records that belong to no change of the ledger."""
        if records:
            with self._database.write() as connection:
                append(connection, records)

    def page(self, before: int | None = None, limit: int = 50, **filters: Unpack[Filters]) -> list[Entry]:
        """Records for people, newest first. One that cannot be read any more is left out; :meth:`check` tells of it.

        :param before: the cursor: the number of the last record of the page before this one.
        :param limit: how many at most, 1 to 1001.
        """
        limit = max(1, min(limit, _PAGE))
        query = _filtered(select(audit.c.seq, audit.c.line), **filters).order_by(audit.c.seq.desc()).limit(limit)
        before = _LARGEST if before is None else min(before, _LARGEST)
        found: list[Entry] = []
        while len(found) < limit:  # or a damaged record would look like the end of them all
            with self._database.read() as connection:
                rows = connection.execute(query.where(audit.c.seq < before)).all()
            found += [entry for row in rows if (entry := _readable(row.line)) is not None]
            if len(rows) < limit:
                break
            before = rows[-1].seq
        return found[:limit]

    def clean(self, before: datetime) -> int:
        """Delete the oldest records, up to the first that is not before this time, and return how many they were.

        The newest one stays. A few hundred at once: call it until it returns 0.
        """
        with self._database.write() as connection:
            first, last = connection.execute(select(func.min(audit.c.seq), func.max(audit.c.seq))).one()
            kept = connection.execute(select(func.min(audit.c.seq)).where(audit.c.time >= before)).scalar()
            if first is None:
                return 0
            until = min(last if kept is None else kept, first + _AT_ONCE)
            return connection.execute(delete(audit).where(audit.c.seq < until)).rowcount

    def check(self, walk: Walk) -> Iterator[str]:
        """Go along the whole chain and tell what was done to it, one fault at a time."""
        with self._database.read() as connection:
            end = connection.execute(_END).first()
        if end is None:
            yield "the end of the chain is not known: the table audit_end is empty"
        expected = None if end is None or end.seq == 0 else Link(end.seq, end.hash)
        seq, is_whole = 0, expected is None
        while rows := self._some(seq):
            for row in rows:
                seq = row.seq
                yield from (f"row {seq}: {fault}" for fault in walk.step(row.line))
                yield from _differences(row)
                is_whole = is_whole or walk.last == expected
        if expected is not None and not is_whole:
            yield f"the last record was {expected.seq} with the hash {expected.hash}: it is missing or another one"

    def _some(self, after: int) -> Sequence[Any]:
        query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(_PAGE)
        with self._database.read() as connection:
            return connection.execute(query).all()


def _filtered(query: Select[Any], **filters: Unpack[Filters]) -> Select[Any]:
    match filters.get("events"):
        case None:
            pass
        case events:
            query = query.where(audit.c.event.in_([event.value for event in events]))
    for name in ("ca_id", "label"):
        if (value := filters.get(name)) is not None:
            query = query.where(audit.c[name] == value)
    if (who := filters.get("who")) is not None:
        query = query.where(audit.c.caller.icontains(who, autoescape=True))
    if (since := filters.get("since")) is not None:
        query = query.where(audit.c.time >= since)
    if (until := filters.get("until")) is not None:
        query = query.where(audit.c.time < until)
    return query


def _copied(facts: dict[str, Any]) -> dict[str, Any]:
    """The columns that repeat what the line says."""
    return {
        "event": facts["event"],
        "ca_id": facts.get("ca"),
        "label": facts.get("label"),
        "caller": facts.get("caller"),
    }


def _differences(row: Any) -> Iterator[str]:
    """Where the columns do not say what the line says; a line that says nothing has been told of."""
    entry = _readable(row.line)
    if entry is None:
        return
    if row.seq != entry.seq:
        yield f"row {row.seq}: holds record {entry.seq}"
    copied = {name: _stored(value) for name, value in _copied(entry.facts).items()}
    columns = {name: getattr(row, name) for name in copied}
    if columns != copied or written(row.time) != entry.facts.get("time"):
        yield f"row {row.seq}: its columns were changed, the record itself was not"


def _stored(value: str | None) -> str | None:
    return Words().process_bind_param(value, sqlite.dialect())


def _readable(line: str) -> Entry | None:
    try:
        return read(line)
    except Broken:
        return None
