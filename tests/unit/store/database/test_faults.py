"""A database that is closed or no database; an SQLite file that is full, locked or not there: the error is in words."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kipuka.store.rows import State
from kipuka.store.store import Store, StoreUnavailable, UnusableDatabase
from tests.unit.store.places import NOW, Place, SqlitePlace, application


def test_closed_store(place: Place, store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.join(application(), NOW)
    with pytest.raises(StoreUnavailable, match="closed"):
        store.counts()


@pytest.mark.parametrize("url", ["mysql://h/x", "sqlite://", "sqlite:///", "postgresql:x", "kipuka.db", ""])
def test_no_such_kind_of_database(url: str) -> None:
    with pytest.raises(UnusableDatabase, match="neither sqlite:///FILE nor postgresql://"):
        Store.open(url)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqlitePlace]:
    place = SqlitePlace(tmp_path / "kipuka.db")
    yield place
    place.close()


def test_sqlite_file_is_for_its_owner_only(file: SqlitePlace) -> None:
    old = os.umask(0)
    try:
        file.open().join(application(), NOW)
    finally:
        os.umask(old)
    assert {each.name: each.stat().st_mode & 0o777 for each in file.path.parent.iterdir()} == {
        "kipuka.db": 0o600,
        "kipuka.db-wal": 0o600,
        "kipuka.db-shm": 0o600,
    }
    file.close()
    assert [each.name for each in file.path.parent.iterdir()] == ["kipuka.db"]


def test_sqlite_disk_full(file: SqlitePlace) -> None:
    store = file.open()
    row = store.join(application(1), NOW)
    with store._database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="database or disk is full") as caught:
        store.move(row.id, {State.RECEIVED}, State.ISSUED, NOW, certificate=b"x" * 100_000)
    assert str(file.path) in str(caught.value)
    assert store.get(row.id) == row
    with store._database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    assert store.move(row.id, {State.RECEIVED}, State.ISSUED, NOW, certificate=b"x" * 100_000)


def test_sqlite_locked_by_another_process(file: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipuka.store.database.sqlite.SECONDS", 0.1)
    store = file.open()
    row = store.join(application(1), NOW)
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            store.join(application(2), NOW)
        assert store.get(row.id) == row  # readers go on
    assert store.join(application(2), NOW).id > row.id


def test_sqlite_writers_of_this_process_wait_for_each_other_but_not_for_ever(
    file: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = file.open()
    monkeypatch.setattr("kipuka.store.database.sqlite.SECONDS", 0.1)
    inside, done = threading.Event(), threading.Event()

    def keep() -> None:
        with store._database.write():
            inside.set()
            done.wait(10)

    keeper = threading.Thread(target=keep)
    keeper.start()
    assert inside.wait(10)
    with pytest.raises(StoreUnavailable, match="other writers did not make way"):
        store.join(application(2), NOW)
    done.set()
    keeper.join(10)
    assert store.join(application(2), NOW)


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere: be somebody else for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A directory that others may enter and read."""
    with tempfile.TemporaryDirectory(prefix="kipuka-store-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


def test_sqlite_read_only(shared_folder: Path) -> None:
    path = shared_folder / "kipuka.db"
    Store.open(f"sqlite:///{path}").close()
    path.chmod(0o444)
    shared_folder.chmod(0o555)
    with nobody(), pytest.raises(StoreUnavailable, match="must be able to write the file and its directory"):
        Store.open(f"sqlite:///{path}").join(application(), NOW)


def test_sqlite_file_that_cannot_be_made(shared_folder: Path) -> None:
    missing = shared_folder / "no" / "kipuka.db"
    with pytest.raises(StoreUnavailable, match=f"{missing} cannot be used: No such file or directory"):
        Store.open(f"sqlite:///{missing}")
    shared_folder.chmod(0o555)
    with nobody(), pytest.raises(StoreUnavailable, match="Permission denied; kipuka's user must be able to write"):
        Store.open(f"sqlite:///{shared_folder}/kipuka.db")
    with pytest.raises(StoreUnavailable):
        Store.open(f"sqlite:///{shared_folder}")


def test_sqlite_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "kipuka.db").write_text("not a database, and more than a header's worth of it\n" * 100)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        Store.open(f"sqlite:///{tmp_path}/kipuka.db")
