"""Where the tests' ledgers are, and rows to put into them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kipuka.store.database.opening import open_database
from kipuka.store.rows import Application
from kipuka.store.store import Store
from tests.support.postgres import Cluster

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def application(
    number: int = 1, *, caller: str = "user:alice", label: str | None = None, ca: str = "ca"
) -> Application:
    return Application(
        key=f"{number:064x}",
        caller=caller,
        operation="simpleenroll",
        label=label,
        ca_id=ca,
        profile=None,
        public_key=f"{number + 1000:064x}",
        subject=f"CN=device-{number}",
    )


class Place(ABC):
    """A database, and the stores that a test has opened on it."""

    url: str

    def __init__(self) -> None:
        self._opened: list[Store] = []

    def open(self) -> Store:
        store = Store.open(self.url)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()

    @abstractmethod
    def sql(self, statement: str) -> str:
        """Run a statement past the store, and return its first value."""


class SqlitePlace(Place):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"

    def sql(self, statement: str) -> str:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            row = connection.execute(statement).fetchone()
            return "" if row is None else str(row[0])


class PostgresPlace(Place):
    def __init__(self, cluster: Cluster, url: str) -> None:
        super().__init__()
        self.cluster = cluster
        self.url = url
        self.name = url.partition("///")[2].partition("?")[0]

    def sql(self, statement: str) -> str:
        return self.cluster.sql(statement, self.name)


def empty(store: Store) -> None:
    """Delete everything."""
    with store._database.write() as connection:
        for table in ("enrollments", "leases", "processes", "ca_chains"):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def tables(url: str) -> set[str]:
    """The names of the tables there are."""
    from sqlalchemy import inspect

    database = open_database(url, create=False, connections=1)
    try:
        with database.read() as connection:
            return set(inspect(connection).get_table_names())
    finally:
        database.close()


def process(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Another Python with this tree on its path; it tells the test what it does on its standard output."""
    words = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
