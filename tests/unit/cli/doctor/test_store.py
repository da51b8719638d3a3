"""The database under examination."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kipuka.cli.doctor.checks import store
from kipuka.cli.doctor.findings import Level
from kipuka.store.store import Store


def levels(url: str) -> list[tuple[Level, str]]:
    return [(each.level, each.text) for each in store.findings(url)]


def test_good(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kipuka.db'}"
    Store.open(url).close()
    found = levels(url)
    assert {level for level, _ in found} == {Level.OK}
    assert found[-1][1] == "it can be written"


def test_it_makes_no_file(tmp_path: Path) -> None:
    found = levels(f"sqlite:///{tmp_path / 'kipuka.db'}")
    assert found[-1] == (Level.OK, f"there is no {tmp_path / 'kipuka.db'} yet: the daemon makes it when it starts")
    assert not list(tmp_path.iterdir())


def test_no_tables(tmp_path: Path) -> None:
    (tmp_path / "kipuka.db").touch()
    assert levels(f"sqlite:///{tmp_path / 'kipuka.db'}")[-1][0] is Level.WARNING


def test_tables_of_a_newer_kipuka(tmp_path: Path) -> None:
    path = tmp_path / "kipuka.db"
    Store.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE kipuka_schema SET version_num = '9999'")
    connection.close()
    level, text = levels(f"sqlite:///{path}")[-1]
    assert (level, "version 9999" in text) == (Level.FAULT, True)


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "kipuka.db").write_text("x" * 5000)
    level, text = levels(f"sqlite:///{tmp_path / 'kipuka.db'}")[-1]
    assert (level, "not a database" in text) == (Level.FAULT, True)


def test_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipuka.store.database.sqlite.SECONDS", 0.1)
    path = tmp_path / "kipuka.db"
    Store.open(f"sqlite:///{path}").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert levels(f"sqlite:///{path}")[-1][0] is Level.FAULT
    finally:
        other.close()


def test_postgresql_away_and_its_password(tmp_path: Path) -> None:
    (finding,) = store.findings("postgresql://kipuka:s3cret@127.0.0.1:1/kipuka?connect_timeout=2")
    assert finding.level is Level.FAULT
    assert "s3cret" not in str(finding)


@pytest.mark.parametrize(
    ("free", "level"),
    [(store.LITTLE, Level.OK), (store.LITTLE - 1, Level.WARNING), (store.TOO_LITTLE - 1, Level.FAULT)],
)
def test_room(free: int, level: Level) -> None:
    assert store.room(free, Path("/x")).level is level
