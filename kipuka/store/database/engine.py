"""A database as the store needs it: reads, one-transaction writes, and errors in one language."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from kipuka.store.errors import StoreUnavailable

SECONDS = 10
"""How long one call may wait: for another writer, for a free connection, for the server."""


class Database(ABC):
    """SQLite or PostgreSQL. Thread-safe, blocking.

    :param engine: made by the subclass; its pool bounds the connections. The others are the same one with options.
    :param passing: its transactions need not wait for the disk.
    """

    insert: ClassVar[Callable[..., Any]]
    """The dialect's INSERT, for its ON CONFLICT."""

    def __init__(self, engine: Engine, reading: Engine, writing: Engine, passing: Engine) -> None:
        self._engine = engine
        self._reading = reading
        self._writing = writing
        self._passing = passing
        self._is_closed = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for one statement that changes nothing.

        :raises StoreUnavailable: as always here.
        """
        with self._translated(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that sees what others have committed.

        :param durable: it is on disk when the block has been left, and all that was written before it, too. Otherwise
            it may be undone by a failure that ends this process, too, such as one of power, and by no other; unless
            something durable was written after it.
        :raises StoreUnavailable: as always here.
        """
        engine = self._writing if durable else self._passing
        with self._translated(), self._turn(), engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections; there is nothing to be had afterwards."""
        self._is_closed = True
        self._engine.dispose()

    @contextmanager
    def arrival(self) -> Iterator[bool]:
        """Count this process among those that use the database, until it is closed or ends, however it ends.

        Inside, tell whether it is certain that all who were counted before have ended, and keep others from arriving.
        Here it never is: the processes may run on other machines.

        :raises StoreUnavailable: it cannot be counted.
        """
        yield False

    @abstractmethod
    def guard_upgrade(self, connection: Connection) -> None:
        """Keep other processes from upgrading the tables until the transaction ends."""

    @abstractmethod
    def back_up(self, version: str) -> Path | None:
        """Copy what is committed, before the tables are upgraded from this version; None if that is not our business.

        :raises StoreUnavailable: no copy could be made.
        """

    @abstractmethod
    def describe(self, trouble: str) -> str:
        """A sentence for the operator about what the driver said."""

    def _turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        try:
            yield
        except IntegrityError:
            raise  # a mistake of ours, not the weather
        except DBAPIError as error:
            raise StoreUnavailable(self.describe(" ".join(str(error.orig).split()))) from error
        except NoConnectionFree as error:
            raise StoreUnavailable(self.describe(f"no connection was free for {SECONDS} seconds")) from error
