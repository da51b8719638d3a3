"""From the URL of the configuration to a database."""

from __future__ import annotations

from pathlib import Path

from kipuka.store.database.engine import Database
from kipuka.store.database.sqlite import SqliteDatabase
from kipuka.store.errors import UnusableDatabase


def open_database(url: str, *, create: bool, connections: int) -> Database:
    """Prepare a database; SQLite's file is made if it is missing. PostgreSQL is connected to at first use.

    :param url: ``sqlite:///`` and a path, taken as it is written; or a ``postgresql://`` URI as libpq knows it.
    :param create: whether a missing SQLite file may be made.
    :param connections: how many at most.
    :raises StoreUnavailable: the file cannot be made.
    :raises UnusableDatabase: no such kind of database, its driver is missing, or there is no file and none may be made.
    """
    kind, separator, rest = url.partition("://")
    if kind == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteDatabase(Path(rest[1:]), create=create, connections=connections)
    if kind == "postgresql" and separator:
        try:
            from kipuka.store.database.postgres import PostgresDatabase
        except ImportError:
            raise UnusableDatabase(
                'PostgreSQL needs psycopg 3: install Debian\'s python3-psycopg, or "kipuka[postgres]" and libpq'
            ) from None
        return PostgresDatabase(url, connections=connections)
    raise UnusableDatabase("the database is neither sqlite:///FILE nor postgresql://...")
