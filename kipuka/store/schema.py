"""The tables of the store, and how its values are written in them. The history of the tables is in ``migrations``."""

# ruff: noqa: ARG002 - the methods of a TypeDecorator are given the dialect

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, Integer, LargeBinary, MetaData, RowMapping, Table, Text
from sqlalchemy import text as sql
from sqlalchemy.types import TypeDecorator

from kipuka.store.rows import Application, Enrollment, State

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware time as microseconds since 1970 in UTC: the same number in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Write a time; a naive one is a mistake of the caller."""
        if value is not None and value.tzinfo is None:
            raise ValueError("the store takes aware times only")
        return None if value is None else (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Read a time."""
        return None if value is None else EPOCH + int(value) * _MICROSECOND


class Words(TypeDecorator[str]):
    """Text from outside. PostgreSQL takes neither NUL nor half a surrogate pair; they become replacement characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Write text."""
        return (
            None
            if value is None
            else value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        )


class StateName(TypeDecorator[State]):
    """A state by its value."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: State | None, dialect: Dialect) -> str | None:
        """Write a state."""
        return None if value is None else value.value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> State | None:
        """Read a state."""
        return None if value is None else State(value)


metadata = MetaData()

enrollments = Table(
    "enrollments",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("caller", Words, nullable=False),
    Column("operation", Words, nullable=False),
    Column("label", Words),
    Column("ca_id", Words, nullable=False),
    Column("profile", Words),
    Column("public_key", Text, nullable=False),
    Column("subject", Words, nullable=False),
    Column("state", StateName, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Column("process", Words),
    Column("submitted", Instant),
    Column("absent_since", Instant),
    Column("request_id", Words),
    Column("serial", Words),
    Column("certificate", LargeBinary),
    Column("reason", Words),
    Column("delivered", Instant),
    Column("not_after", Instant),
    Column("renews", Words),
    Column("unfinished", Words),
    sqlite_autoincrement=True,  # the id of a row that was cleaned away is not given to another
)

IS_OPEN = sql("state <> 'closed'")

Index(
    "enrollments_open_key", enrollments.c.key, unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN
)  # at most one open row for a key
Index("enrollments_state", enrollments.c.state, enrollments.c.ca_id)  # state first: also for counts and orphans
Index("enrollments_updated", enrollments.c.updated)
Index("enrollments_public_key", enrollments.c.public_key)
Index("enrollments_serial", enrollments.c.serial)

leases = Table(
    "leases",
    metadata,
    Column("name", Words, primary_key=True),
    Column("holder", Words, nullable=False),
    Column("until", Instant, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("id", Words, primary_key=True),
    Column("seen", Instant, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Instant, nullable=False),
    Column("event", Text, nullable=False),
    Column("ca_id", Words),
    Column("label", Words),
    Column("caller", Words),
    Column("line", Text, nullable=False),
)
Index("audit_time", audit.c.time)

audit_end = Table(  # one row: who has it locked may append
    "audit_end",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

ca_chains = Table(
    "ca_chains",
    metadata,
    Column("ca_id", Words, primary_key=True),
    Column("chain", Text, nullable=False),
    Column("fetched", Instant, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("ca_key", Text, primary_key=True),
    Column("serial", Text, primary_key=True),  # hexadecimal: 160 bits are more than a database counts
    Column("subject", Words, nullable=False),
    Column("not_after", Instant, nullable=False),
    Column("revoked", Instant),
    Column("reason", Integer),
)

Index("certificates_revoked", certificates.c.ca_key, certificates.c.reason)

crls = Table(
    "crls",
    metadata,
    Column("ca_key", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("der", LargeBinary, nullable=False),
)

_APPLICATION = tuple(Application.__dataclass_fields__)
_OTHERS = tuple(name for name in Enrollment.__dataclass_fields__ if name != "application")


def enrollment(row: RowMapping) -> Enrollment:
    """Read a row of ``enrollments``."""
    application = Application(**{name: row[name] for name in _APPLICATION})
    return Enrollment(application=application, **{name: row[name] for name in _OTHERS})
