"""What dies, is full, is locked or is not there: rows that were confirmed stay, and the error says so in words."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kipuka.store.rows import State
from kipuka.store.store import Store, StoreUnavailable, UnusableDatabase
from tests.support.postgres import Cluster
from tests.unit.store.places import NOW, SECOND, Place, PostgresPlace, SqlitePlace, application, process

WRITER = """
import sys
from datetime import timedelta
from kipuka.store.rows import State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, application
store = Store.open(sys.argv[1])
for number in range(1_000_000):
    row = store.join(application(number), NOW)
    store.move(row.id, {State.RECEIVED}, State.ISSUED, NOW, certificate=b"x" * 1000)
    print(row.id, flush=True)
"""


@pytest.mark.parametrize("written", [1, 7, 30])
def test_kill_9_while_writing(place: Place, written: int) -> None:
    """What was confirmed to the process before it was killed is there, and the database goes on."""
    writer = process(WRITER, place.url)
    try:
        assert writer.stdout is not None
        confirmed = [int(writer.stdout.readline()) for _ in range(written)]
    finally:
        writer.kill()
        rest, _ = writer.communicate()
    confirmed += [int(line) for line in rest.split("\n")[:-1]]
    store = place.open()
    for number in confirmed:
        row = store.get(number)
        assert row is not None
        assert (row.state, row.certificate) == (State.ISSUED, b"x" * 1000)
    assert sum(store.counts().values()) - len(confirmed) in {0, 1}  # one may have been under way
    assert store.join(application(), NOW)
    if isinstance(place, SqlitePlace):
        assert place.sql("PRAGMA integrity_check") == "ok"


def test_durable_means_durable(place: Place, store: Store) -> None:
    """The settings that make a commit wait for the disk."""
    with store._database.write() as connection:
        if isinstance(place, SqlitePlace):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"


def test_what_need_not_last_does_not_wait_for_the_disk_and_changes_nothing_for_what_follows(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    for durable, expected in ((True, 2), (False, 1), (True, 2), (False, 1)):  # FULL, NORMAL
        with store._database.write(durable=durable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == expected
    store.close()


def test_postgresql_always_waits_for_the_disk(server: PostgresPlace) -> None:
    """It may crash without kipuka, which would go on with rows that are not there any more."""
    with server.open()._database.write(durable=False) as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_a_row_is_on_disk_before_anything_is_sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining writes it, and the move after that, which is what is waited for, has both synchronised."""
    lasting = []
    write = store._database.write

    def noted(*, durable: bool = True) -> AbstractContextManager[Connection]:
        lasting.append(durable)
        return write(durable=durable)

    monkeypatch.setattr(store._database, "write", noted)
    row = store.join(application(), NOW)
    store.move(row.id, {State.RECEIVED}, State.SUBMITTING, NOW, row)
    assert lasting == [False, True]


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


# --- SQLite


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


# --- PostgreSQL


@pytest.fixture
def server(cluster: Cluster) -> Iterator[PostgresPlace]:
    """A database whose settings may be changed."""
    place = PostgresPlace(cluster, cluster.database())
    yield place
    place.close()


def test_postgresql_connections_that_were_killed(server: PostgresPlace) -> None:
    store = server.open()
    row = store.join(application(1), NOW)
    held = threading.Barrier(4)

    def hold() -> None:
        with store._database.read():
            held.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(3)]  # so that there are several connections to lose
    for thread in threads:
        thread.start()
    held.wait(10)
    for thread in threads:
        thread.join(10)
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'kipuka'"
    assert int(server.sql(kill)) >= 3
    assert store.get(row.id) == row
    assert store.move(row.id, {State.RECEIVED}, State.PENDING, NOW)
    assert int(server.sql(kill)) >= 1
    assert store.join(application(2), NOW)


def test_postgresql_connection_killed_in_the_middle_of_a_change(server: PostgresPlace) -> None:
    store = server.open()
    row = store.join(application(1), NOW)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kipuka'"
    with pytest.raises(StoreUnavailable), store._database.write() as connection:
        connection.exec_driver_sql("UPDATE enrollments SET state = 'issued'")
        server.sql(kill)
        connection.exec_driver_sql("SELECT 1")
    assert store.get(row.id) == row


def test_postgresql_server_that_crashes_and_comes_back(server: PostgresPlace) -> None:
    store = server.open()
    row = store.join(application(1), NOW)
    server.cluster.crash()
    try:
        for call in (lambda: store.get(row.id), lambda: store.join(application(2), NOW), lambda: server.open()):
            with pytest.raises(StoreUnavailable, match="the database server cannot be used: "):
                call()
    finally:
        server.cluster.start()
    assert store.get(row.id) == row
    assert store.join(application(2), NOW)


def test_postgresql_row_locked_for_too_long(server: PostgresPlace) -> None:
    store, other = server.open(), server.open()
    row = store.join(application(1), NOW)
    with other._database.write() as connection:
        connection.exec_driver_sql("UPDATE enrollments SET state = 'issued'")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            store.move(row.id, {State.RECEIVED}, State.PENDING, NOW)
        assert time.monotonic() - started < 30
    assert store.get(row.id).state is State.ISSUED  # type: ignore[union-attr]


def test_postgresql_all_connections_busy(server: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipuka.store.database.postgres.SECONDS", 0.1)
    store = Store.open(server.url, connections=1)
    try:
        with store._database.read(), pytest.raises(StoreUnavailable, match="no connection was free"):
            store.counts()
        assert store.counts()
    finally:
        store.close()


def test_postgresql_commits_reach_the_disk_whatever_the_server_does_by_default(server: PostgresPlace) -> None:
    server.sql(f"ALTER DATABASE {server.name} SET synchronous_commit = off")
    server.sql(f"ALTER DATABASE {server.name} SET default_transaction_isolation = 'serializable'")
    test_durable_means_durable(server, server.open())
    server.sql(f"ALTER DATABASE {server.name} SET synchronous_commit = 'remote_apply'")
    with server.open()._database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"


def test_postgresql_database_in_another_encoding(cluster: Cluster) -> None:
    url = cluster.database("ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(UnusableDatabase, match="has the encoding LATIN1; make one for kipuka: createdb"):
        Store.open(url)


def test_postgresql_that_is_read_only(server: PostgresPlace) -> None:
    server.open()
    server.sql(f"ALTER DATABASE {server.name} SET default_transaction_read_only = on")
    store = server.open()
    assert store.counts()
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        store.beat("p", NOW + SECOND)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://kipuka:hunter2@127.0.0.1:1/kipuka",
        "postgresql://kipuka:hunter2@no-such-host.invalid/kipuka",
        "postgresql:///kipuka?host=/nonexistent&password=hunter2",
    ],
)
def test_postgresql_password_is_in_no_error(url: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error!s} {error!r}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("url", ["postgresql://u:hunter2/3@h/x", "postgresql://h/x?hunter2=1", "postgresql://%zz@h/"])
def test_postgresql_url_that_libpq_cannot_read(url: str) -> None:
    with pytest.raises(UnusableDatabase, match=r"write @ / .* of a password as %40") as caught:
        Store.open(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "kipuka.store.database.postgres", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(UnusableDatabase, match="needs psycopg 3: install"):
        Store.open("postgresql://h/x")
