"""What was confirmed stays: a process that is killed, and what a commit waits for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kipuka.store.rows import State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, Place, PostgresPlace, SqlitePlace, application, process

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
    with writer:
        try:
            assert writer.stdout is not None
            confirmed = [int(writer.stdout.readline()) for _ in range(written)]
        finally:
            writer.kill()
        confirmed += [int(line) for line in writer.stdout if line.endswith("\n")]
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


def test_postgresql_commits_reach_the_disk_whatever_the_server_does_by_default(server: PostgresPlace) -> None:
    server.sql(f"ALTER DATABASE {server.name} SET synchronous_commit = off")
    server.sql(f"ALTER DATABASE {server.name} SET default_transaction_isolation = 'serializable'")
    test_durable_means_durable(server, server.open())
    server.sql(f"ALTER DATABASE {server.name} SET synchronous_commit = 'remote_apply'")
    with server.open()._database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"
