"""The store in an SQLite file (WAL): one writer at a time, on disk when a transaction ends that is to be durable."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import QueuePool

from kipuka.store.database.engine import SECONDS, Database
from kipuka.store.errors import StoreUnavailable, UnusableDatabase

_SYNCHRONOUS = "kipuka_synchronous"
"""Of a transaction that writes: FULL or NORMAL, as SQLite calls it."""


class SqliteDatabase(Database):
    """A file of the local disk. Several processes may have it open, on this machine only.

    :param path: the file; its ``-wal``, ``-shm`` and ``.lock`` companions lie beside it.
    """

    insert = staticmethod(insert)

    def __init__(self, path: Path, *, create: bool, connections: int) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._presence: int | None = None
        self._make_file(create=create)
        engine = create_engine(
            URL.create("sqlite", database=str(path)),
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=SECONDS,
            hide_parameters=True,
        )
        event.listen(engine, "begin", _begin)
        writing, passing = (engine.execution_options(**{_SYNCHRONOUS: each}) for each in ("FULL", "NORMAL"))
        super().__init__(engine, engine, writing, passing)

    @contextmanager
    def arrival(self) -> Iterator[bool]:
        """Share a lock on a file beside the database; who can have it alone is the only one.

        The kernel gives the lock back when a process ends, after kill -9 too. The file is one of its own because a
        process that closes any descriptor of the database file loses SQLite's locks on it. It is never deleted: a
        lock on a file that is gone is seen by nobody.
        """
        try:
            self._presence = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                alone = False
            yield alone
            # Not atomic: another may be alone for a moment before this waits its turn; this one has done nothing yet.
            fcntl.flock(self._presence, fcntl.LOCK_SH)
        except OSError as error:
            raise StoreUnavailable(
                self.describe(f"{error.strerror or type(error).__name__}: {self.path}.lock")
            ) from error

    def close(self) -> None:
        """Close the connections, and be counted no more."""
        super().close()
        if self._presence is not None:
            os.close(self._presence)
            self._presence = None

    def guard_upgrade(self, connection: Connection) -> None:
        """Nothing to do: a transaction that writes is the only one."""

    def back_up(self, version: str) -> Path:
        """Copy the file to one beside it, named after the version, with the file's owner and mode.

        To be called while a transaction of :meth:`write` has changed nothing yet: the copy is made by another
        connection, which sees what is committed.
        """
        names = (self.path.with_name(f"{self.path.name}.schema-{version}{end}") for end in _endings())
        target = next(name for name in names if not name.exists())
        partial = target.with_name(f"{target.name}.partial")
        try:
            partial.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with closing(self._connect()) as source, closing(sqlite3.connect(partial)) as copy:
                source.backup(copy)
            status = self.path.stat()
            if os.geteuid() == 0:
                os.chown(partial, status.st_uid, status.st_gid)
            partial.chmod(status.st_mode & 0o777)
            partial.rename(target)
            _sync(target.parent)
        except (OSError, sqlite3.Error) as error:
            partial.unlink(missing_ok=True)
            raise StoreUnavailable(
                f"cannot copy {self.path} to {target}, so its tables were not upgraded: {error}"
            ) from error
        return target

    def describe(self, trouble: str) -> str:
        """Name the file, and what it takes when that is not plain."""
        rights = "unable to open" in trouble or "readonly" in trouble or "Permission denied" in trouble
        advice = "; kipuka's user must be able to write the file and its directory" if rights else ""
        return f"the database {self.path} cannot be used: {trouble}{advice}"

    def _make_file(self, *, create: bool) -> None:
        """Make the file, if it is not there, such that only its owner reads it: it says who asked for what."""
        if not create and not self.path.exists():
            raise UnusableDatabase(f"there is no database {self.path}; the daemon makes it when it starts")
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailable(self.describe(error.strerror or type(error).__name__)) from None

    def _connect(self) -> sqlite3.Connection:
        # isolation_level None: the sqlite3 module begins no transactions by itself, _begin does.
        connection = sqlite3.connect(self.path, timeout=SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            self._use_wal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch write-ahead logging on, which stays on. SQLite does not wait its turn for this, so we do."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                break
        if mode != "wal":
            raise UnusableDatabase(f"{self.path} lies on a file system without shared memory; put it on a local disk")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Queue up the threads of this process: SQLite itself would let them poll for their turn, unfairly."""
        if not self._lock.acquire(timeout=SECONDS):
            raise StoreUnavailable(self.describe(f"other writers did not make way for {SECONDS} seconds"))
        try:
            yield
        finally:
            self._lock.release()


def _begin(connection: Connection) -> None:
    """Take the writer's place at once: a reader that wants to write later may find that it cannot.

    In WAL mode a transaction that is not synchronised is on disk with the next one that is.
    """
    synchronous = connection.get_execution_options().get(_SYNCHRONOUS)
    if synchronous is not None:
        connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _endings() -> Iterator[str]:
    yield ""
    yield from (f".{number}" for number in count(2))


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
