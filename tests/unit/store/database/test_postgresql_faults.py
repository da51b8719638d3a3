"""A PostgreSQL server that is away, locked, full or not as it should be: rows stay, and the error says so in words."""

from __future__ import annotations

import threading
import time

import pytest

from kipuka.store.rows import State
from kipuka.store.store import Store, StoreUnavailable, UnusableDatabase
from tests.support.postgres import Cluster
from tests.unit.store.places import NOW, SECOND, PostgresPlace, application


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
