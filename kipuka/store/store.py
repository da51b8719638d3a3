"""The ledger's memory: what it asks of its database, in words of rows and states.

Every method blocks and is safe to call from any thread. Each is one transaction: when it returns it has happened as a
whole or not at all, and is on disk. Only :meth:`Store.join`, and :meth:`Store.move` where the caller says so, do not
wait for the disk: a failure of power may undo them, until something that is waited for was written after them. Times
are aware and come from the caller; nodes that share a PostgreSQL need clocks that agree to well under a second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from sqlalchemy import Connection, Executable, Select, and_, bindparam, delete, exists, func, or_, select, update

from kipuka.observe.audit.record import Record
from kipuka.store.audit import AuditTable, append
from kipuka.store.certificates import Certificates
from kipuka.store.chains import Chains
from kipuka.store.database.engine import Database
from kipuka.store.database.opening import open_database
from kipuka.store.database.upgrade import bring_up_to_date
from kipuka.store.errors import StoreUnavailable, UnusableDatabase
from kipuka.store.listing import Filters, listing
from kipuka.store.rows import Application, Enrollment, State
from kipuka.store.schema import IS_OPEN, enrollment, enrollments, leases, processes

__all__ = ["Changes", "Store", "StoreUnavailable", "UnusableDatabase"]

_ROW = enrollments.c
_LARGEST_ID = 2**63 - 1
_AT_ONCE = 500
_RETIRED_AT_ONCE = 100
"""Each of them is a record of the audit, too, and a line of the log."""
_JOINS = 20
_PAGE = 1001
"""A thousand, and one to know whether there are more."""

# The statements of every request are built once: SQLAlchemy takes longer to build one than SQLite to run it.
_BY_ID = select(enrollments).where(_ROW.id == bindparam("row_id"))
_OPEN_OF_KEY = select(enrollments).where(_ROW.key == bindparam("open_key"), IS_OPEN)
_CHANGE = (
    update(enrollments)
    .where(_ROW.id == bindparam("row_id"), _ROW.state.in_(bindparam("expected", expanding=True)))
    .returning(*enrollments.c)
)
_CHANGE_OF = _CHANGE.where(
    _ROW.process.is_not_distinct_from(bindparam("of_process")),
    _ROW.submitted.is_not_distinct_from(bindparam("of_submitted")),
)


class Changes(TypedDict, total=False):
    """What a move may change besides the state; as in :class:`~kipuka.store.rows.Enrollment` and its application."""

    ca_id: str
    profile: str | None
    process: str | None
    submitted: datetime | None
    absent_since: datetime | None
    request_id: str | None
    serial: str | None
    certificate: bytes | None
    reason: str | None
    not_after: datetime | None
    delivered: datetime | None
    renews: str | None
    unfinished: str | None


_CHANGES = frozenset(Changes.__annotations__)


class Store:
    """The rows of the ledger, the leases of its work, and the signs of life of its processes.

    All methods raise :class:`StoreUnavailable`.

    :param copy: the copy of the database that was made before its tables were upgraded at this start.
    :ivar certificates: the books of the CAs whose keys kipuka holds.
    :ivar chains: the CAs' certificates.
    """

    def __init__(self, database: Database, copy: Path | None = None) -> None:
        self._database = database
        self.audit = AuditTable(database)
        self.copy = copy
        self.certificates = Certificates(database)
        self.chains = Chains(database)
        adding = database.insert(enrollments).on_conflict_do_nothing(index_elements=[_ROW.key], index_where=IS_OPEN)
        self._add = adding.returning(*enrollments.c)

    @classmethod
    def open(cls, url: str, *, upgrade: bool = True, connections: int = 5) -> Self:
        """Open a database, and make or upgrade its tables.

        To be called in the process that uses it: connections do not survive a fork.

        :param url: ``sqlite:///FILE`` or ``postgresql://...``.
        :param upgrade: False: take the database only as it is; for commands beside the daemon.
        :param connections: how many at most, which is how many calls can be under way at once.
        :raises StoreUnavailable: it cannot be used at the moment.
        :raises UnusableDatabase: it will not do; the text says what to do.
        """
        database = open_database(url, create=upgrade, connections=connections)
        try:
            return cls(database, bring_up_to_date(database, upgrade=upgrade))
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database. Calls that come later raise StoreUnavailable."""
        self._database.close()

    # --- enrollments

    def join(self, application: Application, now: datetime) -> Enrollment:
        """The open row of this key, or a new one in RECEIVED. However many ask at once, they get the same row.

        Nobody has been asked for anything yet, so the disk is not waited for: the next move sees to that.
        """
        fresh = {"state": State.RECEIVED, "updated": now}
        new = _columns(application) | fresh | {"created": now}
        with self._database.write(durable=False) as connection:
            # Between two of these statements another may close or add one (PostgreSQL): then there is one to look at.
            for _ in range(_JOINS):
                row = _first(connection, _OPEN_OF_KEY, {"open_key": application.key})
                if row is None:
                    row = _first(connection, self._add, new)
                elif row.state is State.RECEIVED:  # asked for again, so not to be retired before it is submitted
                    row = _change(connection, row.id, [State.RECEIVED], fresh)
                if row is not None:
                    return row
        raise StoreUnavailable(f"rows of one key came and went {_JOINS} times while one was being joined")

    def find(self, key: str) -> Enrollment | None:
        """The open row of this key, unless there is none."""
        with self._database.read() as connection:
            return _first(connection, _OPEN_OF_KEY, {"open_key": key})

    def get(self, id: int) -> Enrollment | None:  # noqa: A002 - what it is called everywhere
        """The row of this number, unless there is none, or none any more."""
        if not 0 < id <= _LARGEST_ID:
            return None
        with self._database.read() as connection:
            return _first(connection, _BY_ID, {"row_id": id})

    def move(
        self,
        id: int,  # noqa: A002
        expected: Collection[State],
        to: State,
        now: datetime,
        of: Enrollment | None = None,
        audit: Callable[[Enrollment], Record] | None = None,
        *,
        durable: bool = True,
        **changes: Unpack[Changes],
    ) -> Enrollment | None:
        """Change a row if its state is one of those expected, and return it as it is then.

        :param of: the row as the caller knows it: if it has been taken for another submission since, nothing changes.
        :param audit: what the audit says of the change, given the row as it is then: the two are written as one.
        :param durable: False: a failure of power may undo it.
        :param changes: what else becomes of the row; what is not named stays.
        :returns: None when there is no such row in such a state: somebody was faster.
        :raises ValueError: a closed row would open again.
        """
        if unknown := changes.keys() - _CHANGES:
            raise TypeError(f"a move cannot change {', '.join(sorted(unknown))}")
        if State.CLOSED in expected and to is not State.CLOSED:
            raise ValueError("a closed row stays closed")
        with self._database.write(durable=durable) as connection:
            moved = _change(connection, id, expected, {"state": to, "updated": now, **changes}, of)
            if moved is not None and audit is not None:
                append(connection, [audit(moved)])
            return moved

    def changed(self, since: datetime) -> list[Enrollment]:
        """The rows that changed at or after this time, in that order.

        A change becomes visible a little after its time (its transaction has to end, and clocks differ), so whoever
        asks again and again asks for some seconds more than have passed.
        """
        return self._rows(select(enrollments).where(_ROW.updated >= since).order_by(_ROW.updated, _ROW.id))

    def in_states(self, ca_id: str, states: Collection[State]) -> list[Enrollment]:
        """The rows of a CA that are in one of these states, oldest first."""
        query = select(enrollments).where(_ROW.ca_id == ca_id, _ROW.state.in_(states))
        return self._rows(query.order_by(_ROW.id))

    def of_key(self, ca_ids: Collection[str], public_key: str) -> list[Enrollment]:
        """The rows of these CAs, open or not, in which this public key was asked to be certified, oldest first."""
        query = select(enrollments).where(_ROW.public_key == public_key, _ROW.ca_id.in_(ca_ids))
        return self._rows(query.order_by(_ROW.id))

    def of_serial(self, serial: int) -> list[Enrollment]:
        """The rows, open or not, for which a certificate with this serial number was issued, oldest first."""
        return self._rows(select(enrollments).where(_ROW.serial == f"0x{serial:x}").order_by(_ROW.id))

    def serials(self, ca_ids: Collection[str], since: datetime) -> frozenset[str]:
        """The serial numbers of these CAs that became some row's, or were to be renewed by one, at or after this time.

        None of them is what a lost submission has got: whoever has a certificate renewed has it already.
        """
        query = select(_ROW.serial, _ROW.renews).where(_ROW.updated >= since, _ROW.ca_id.in_(ca_ids))
        with self._database.read() as connection:
            pairs = connection.execute(query.where(or_(_ROW.serial.is_not(None), _ROW.renews.is_not(None)))).all()
        return frozenset(serial for pair in pairs for serial in pair if serial is not None)

    def page(self, *, before: int | None = None, limit: int = 50, **filters: Unpack[Filters]) -> list[Enrollment]:
        """Rows for people, newest first.

        :param before: the cursor: the id of the last row of the page before this one.
        :param limit: how many at most, 1 to 1001.
        """
        query = listing(**filters).limit(max(1, min(limit, _PAGE)))
        return self._rows(query if before is None else query.where(_ROW.id < min(before, _LARGEST_ID)))

    def counts(self) -> dict[State, int]:
        """How many rows there are in each state, those with none included."""
        with self._database.read() as connection:
            found = connection.execute(select(_ROW.state, func.count()).group_by(_ROW.state)).all()
        return dict.fromkeys(State, 0) | {state: number for state, number in found}  # noqa: C416 - rows, not tuples

    def at_cas(self) -> dict[str, int]:
        """How many rows each CA has, or may have, a request of: those in SUBMITTING, UNKNOWN and PENDING."""
        states = (State.SUBMITTING, State.UNKNOWN, State.PENDING)
        query = select(_ROW.ca_id, func.count()).where(_ROW.state.in_(states)).group_by(_ROW.ca_id)
        with self._database.read() as connection:
            return {ca_id: number for ca_id, number in connection.execute(query).all()}  # noqa: C416 - rows, not tuples

    def retire(
        self,
        now: datetime,
        delivered_before: datetime,
        untouched_before: datetime,
        audit: Callable[[Enrollment], Record] | None = None,
    ) -> list[Enrollment]:
        """Close rows that are over without having been told so, and return them as they are then.

        Those are the ones that were delivered before a time and not asked for again, the ones that came to nothing
        (RECEIVED, REJECTED) and that nobody has asked for since another, and certificates that nobody came for and that
        have expired. Some at once: call it until none is left.

        :param audit: what the audit says of each, in the same transaction.
        """
        is_over = or_(
            and_(_ROW.state == State.DELIVERED, _ROW.delivered < delivered_before),
            and_(_ROW.state.in_((State.RECEIVED, State.REJECTED)), _ROW.updated < untouched_before),
            and_(_ROW.state == State.ISSUED, _ROW.not_after <= now),
        )
        some = select(_ROW.id).where(is_over).order_by(_ROW.id).limit(_RETIRED_AT_ONCE).scalar_subquery()
        closing = update(enrollments).where(_ROW.id.in_(some), is_over).values(state=State.CLOSED, updated=now)
        with self._database.write() as connection:
            closed = connection.execute(closing.returning(*enrollments.c)).mappings().all()
            rows = sorted(map(enrollment, closed), key=lambda row: row.id)
            if rows and audit is not None:
                append(connection, list(map(audit, rows)))
            return rows

    def clean(self, closed_before: datetime) -> int:
        """Delete rows that were closed before this time, and return how many they were; forget processes as well.

        The rows of a key stay while an answer for it is out or lost: what they have got is not that answer.

        A few hundred at once, so that enrollments need not wait for the whole of it: call it until it returns 0.
        """
        at_ca = enrollments.alias().c
        is_awaited = exists().where(
            at_ca.public_key == _ROW.public_key, at_ca.state.in_((State.SUBMITTING, State.UNKNOWN))
        )
        is_old = and_(_ROW.state == State.CLOSED, _ROW.updated < closed_before, ~is_awaited)
        some = select(_ROW.id).where(is_old).limit(_AT_ONCE).scalar_subquery()
        with self._database.write() as connection:
            connection.execute(delete(processes).where(processes.c.seen < closed_before))
            return connection.execute(delete(enrollments).where(_ROW.id.in_(some), is_old)).rowcount

    # --- processes

    def arrive(self) -> None:
        """Count this process among the living, and bury the dead; to be called once, at its start.

        When it is certain that none of the processes before it lives, their leases are free and their rows in
        SUBMITTING are orphans at once. With PostgreSQL it never is: leases run out and signs of life grow old.
        """
        with self._database.arrival() as alone:
            if alone:
                with self._database.write() as connection:
                    connection.execute(delete(leases))
                    connection.execute(delete(processes))

    def lease(self, name: str, holder: str, now: datetime, seconds: float) -> bool:
        """Take or renew a lease; False when another has it and it has not run out."""
        new = {"holder": holder, "until": now + timedelta(seconds=seconds)}
        taking = self._database.insert(leases).values(name=name, **new)
        is_free = or_(leases.c.holder == holder, leases.c.until <= now)
        taking = taking.on_conflict_do_update(index_elements=[leases.c.name], set_=new, where=is_free)
        with self._database.write() as connection:
            return connection.execute(taking.returning(leases.c.name)).first() is not None

    def release(self, name: str, holder: str) -> None:
        """Give a lease back, if it is this holder's."""
        with self._database.write() as connection:
            connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

    def beat(self, process: str, now: datetime) -> None:
        """Write down that a process is alive."""
        beating = self._database.insert(processes).values(id=process, seen=now)
        with self._database.write() as connection:
            connection.execute(beating.on_conflict_do_update(index_elements=[processes.c.id], set_={"seen": now}))

    def orphans(self, dead_before: datetime) -> list[Enrollment]:
        """The rows in SUBMITTING whose process has given no sign of life at or after this time, oldest first."""
        alive = select(processes.c.id).where(processes.c.id == _ROW.process, processes.c.seen >= dead_before)
        query = select(enrollments).where(_ROW.state == State.SUBMITTING, ~alive.exists())
        return self._rows(query.order_by(_ROW.id))

    def _rows(self, query: Select[Any]) -> list[Enrollment]:
        with self._database.read() as connection:
            return [enrollment(row) for row in connection.execute(query).mappings()]


def _first(connection: Connection, statement: Executable, parameters: dict[str, Any]) -> Enrollment | None:
    row = connection.execute(statement, parameters).mappings().first()
    return None if row is None else enrollment(row)


def _change(
    connection: Connection,
    row_id: int,
    expected: Collection[State],
    values: dict[str, Any],
    of: Enrollment | None = None,
) -> Enrollment | None:
    parameters = {"row_id": row_id, "expected": list(expected), **values}
    if of is None:
        return _first(connection, _CHANGE, parameters)
    return _first(connection, _CHANGE_OF, {**parameters, "of_process": of.process, "of_submitted": of.submitted})


def _columns(application: Application) -> dict[str, Any]:
    return {name: getattr(application, name) for name in Application.__dataclass_fields__}
