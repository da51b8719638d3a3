"""The database: whether it opens, its tables' version, whether it can be written, and room on the disk. Blocking."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import false, update

from kipuka.cli.doctor.findings import Finding, fault, ok, warning
from kipuka.store.database.opening import open_database
from kipuka.store.database.upgrade import versions
from kipuka.store.errors import StoreUnavailable, UnusableDatabase
from kipuka.store.schema import metadata

SUBJECT = "store"
LITTLE, TOO_LITTLE = 500 * 1024**2, 50 * 1024**2
"""Bytes free on the disk of an SQLite file. 100,000 enrollments take some 500 MB."""

_DAEMON = "start the daemon, which does that"
_REMEDY = "see docs/operations.md and docs/ledger.md on the database"


def findings(url: str) -> Iterator[Finding]:
    """Look at the database without changing anything in it. Never says the URL, which may hold a password."""
    file = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if file is not None:
        yield from _room(file)
        if not file.exists():
            yield ok(SUBJECT, f"there is no {file} yet: the daemon makes it when it starts")
            return
    try:
        yield from _inside(url)
    except (StoreUnavailable, UnusableDatabase) as error:
        yield fault(SUBJECT, str(error), _REMEDY)


def room(free: int, place: Path) -> Finding:
    """Judge how much room there is."""
    text = f"{free // 1024**2} MB are free at {place}"
    if free < TOO_LITTLE:
        return fault(SUBJECT, text, "make room: what cannot be written down is not handed to a CA")
    return warning(SUBJECT, text, "make room in time") if free < LITTLE else ok(SUBJECT, text)


def _room(file: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(file.parent).free
    except OSError:
        return  # there is no such directory, which the configuration's findings have said
    yield room(free, file.parent)


def _inside(url: str) -> Iterator[Finding]:
    database = open_database(url, create=False, connections=1)
    try:
        version, newest = versions(database)
        yield ok(SUBJECT, "the database can be opened")
        if version is None:
            yield warning(SUBJECT, "the database has no tables of kipuka yet", _DAEMON)
            return
        if version != newest:
            text = f"the tables have version {version} and are to be upgraded to {newest}"
            yield warning(SUBJECT, text, _DAEMON)
            return
        yield ok(SUBJECT, f"its tables have version {version}, which is this kipuka's")
        with database.write() as connection:
            for table in metadata.sorted_tables:
                column = next(iter(table.columns))
                connection.execute(update(table).where(false()).values({column: column}))
        yield ok(SUBJECT, "it can be written")
    finally:
        database.close()
