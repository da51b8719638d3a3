"""Tables are made, upgraded after a copy, never downgraded, and never left half way."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text

from kipuka.store.database.opening import open_database
from kipuka.store.database.upgrade import SCRIPTS, VERSION_TABLE, bring_up_to_date
from kipuka.store.rows import Enrollment, State
from kipuka.store.schema import metadata
from kipuka.store.store import Store, StoreUnavailable, UnusableDatabase
from tests.support import pki
from tests.unit.store.places import NOW, Place, SqlitePlace, application, tables

NEWEST = max(path.stem.split("_")[1] for path in (SCRIPTS / "versions").glob("rev_*.py"))
NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "{last}"
def upgrade():
    op.create_table("more", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("leases", sa.Column("note", sa.Text))
    {end}
"""


def history(folder: Path, end: str = "") -> Path:
    """The history of a kipuka to come: ours and one more version."""
    scripts = folder / "100% new"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "rev_9999_next.py").write_text(NEXT.format(last=NEWEST, end=end))
    return scripts


def upgrade(place: Place, scripts: Path) -> Path | None:
    database = open_database(place.url, create=False, connections=2)
    try:
        return bring_up_to_date(database, scripts=scripts)
    finally:
        database.close()


def begin_before(version: int, place: Place, folder: Path) -> None:
    """Make the tables as they were before a version."""
    older = folder / "older"
    newer = [path.name for path in (SCRIPTS / "versions").glob("rev_*.py") if int(path.stem.split("_")[1]) >= version]
    shutil.copytree(SCRIPTS, older, ignore=shutil.ignore_patterns("__pycache__", *newer))
    if isinstance(place, SqlitePlace):
        place.path.touch()
    upgrade(place, older)


@pytest.fixture
def row(place: Place) -> Enrollment:
    """A row in a database of today."""
    store = place.open()
    row = store.join(application(), NOW)
    store.close()
    return row


def test_the_history_leads_to_the_tables_of_the_code(place: Place, store: Store) -> None:
    with store._database.read() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    # What the comparison does not see:
    index = "SELECT {} FROM {} WHERE {} = 'enrollments_open_key'"
    if isinstance(place, SqlitePlace):
        made = place.sql(index.format("sql", "sqlite_master", "name"))
        assert "AUTOINCREMENT" in place.sql("SELECT sql FROM sqlite_master WHERE name = 'enrollments'")
    else:
        made = place.sql(index.format("indexdef", "pg_indexes", "indexname"))
    assert "UNIQUE" in made
    assert "state <> 'closed'" in made


def test_a_second_start_changes_nothing(place: Place, row: Enrollment) -> None:
    store = place.open()
    assert store.get(row.id) == row
    assert store.copy is None


def test_upgrade(place: Place, row: Enrollment, tmp_path: Path) -> None:
    copy = upgrade(place, history(tmp_path))
    assert place.sql("SELECT subject FROM enrollments") == row.application.subject
    assert "more" in tables(place.url)
    assert place.sql(f"SELECT version_num FROM {VERSION_TABLE}") == "9999"
    assert upgrade(place, tmp_path / "100% new") is None
    if not isinstance(place, SqlitePlace):
        assert copy is None
        return
    assert copy == place.path.with_name(f"kipuka.db.schema-{NEWEST}")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.glob("kipuka.db*")) == ["kipuka.db", f"kipuka.db.schema-{NEWEST}"]
    # The copy is what an operator goes back to.
    store = Store.open(f"sqlite:///{copy}", upgrade=False)
    assert store.get(row.id) == row
    store.close()


def test_expiry_of_certificates_that_waited_before_it_was_written_down(place: Place, tmp_path: Path) -> None:
    begin_before(5, place, tmp_path)
    certificate = pki.root("CN=CA").client("CN=device").certificate
    der = certificate.public_bytes(Encoding.DER)
    database = open_database(place.url, create=False, connections=1)
    with database.write() as connection:
        for number, (state, held) in enumerate(
            [("issued", der), ("closed", der), ("issued", b"cannot be read"), ("issued", None)], 1
        ):
            row = {"id": number, "state": state, "held": held, "key": f"{number:064x}"}
            connection.execute(
                text(
                    "INSERT INTO enrollments (id, key, caller, operation, ca_id, public_key, subject, state, created,"
                    " updated, certificate) VALUES (:id, :key, 'a', 'b', 'c', 'd', 'e', :state, 0, 0, :held)"
                ),
                row,
            )
    database.close()
    store = place.open()
    assert [row.not_after for row in reversed(store.page())] == [certificate.not_valid_after_utc, None, None, None]


def test_books_that_went_by_the_id_of_the_ca_are_begun_anew(place: Place, tmp_path: Path) -> None:
    begin_before(6, place, tmp_path)
    place.sql("INSERT INTO certificates (ca_id, serial, subject, not_after) VALUES ('main', '5', 'CN=device', 0)")
    place.sql("INSERT INTO crls (ca_id, number, der) VALUES ('main', 7, '')")
    book = place.open().certificates
    assert (book.find("main", [5]), book.crl_number("main")) == ([], 0)
    book.add("ab12", 5, "CN=device", NOW)
    assert len(book.find("ab12", [5])) == 1


def test_what_was_under_way_before_it_was_written_down_what_is_renewed_goes_on(place: Place, tmp_path: Path) -> None:
    begin_before(7, place, tmp_path)
    place.sql(
        "INSERT INTO enrollments (key, caller, operation, ca_id, public_key, subject, state, created, updated)"
        " VALUES ('k', 'a', 'simplereenroll', 'ca', 'd', 'e', 'unknown', 0, 0)"
    )
    store = place.open()
    (row,) = store.page()
    assert (row.state, row.renews, row.unfinished) == (State.UNKNOWN, None, None)
    assert store.serials({"ca"}, row.updated) == frozenset()
    free = store.move(row.id, {State.UNKNOWN}, State.RECEIVED, NOW)
    taken = store.move(row.id, {State.RECEIVED}, State.SUBMITTING, NOW, of=free, renews="0x1f")
    assert taken is not None
    assert store.serials({"ca"}, NOW) == {taken.renews}


def test_copies_do_not_replace_each_other(tmp_path: Path) -> None:
    place, scripts = SqlitePlace(tmp_path / "kipuka.db"), history(tmp_path)
    place.open().close()
    for expected in [f"kipuka.db.schema-{NEWEST}{suffix}" for suffix in ("", ".2", ".3")]:
        copy = upgrade(place, scripts)
        assert copy is not None
        assert copy.name == expected
        shutil.copy(copy, place.path)


def test_what_stands_in_the_wal_is_copied_too(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "kipuka.db")
    store = place.open()  # stays open: nothing is moved out of the WAL
    row = store.join(application(), NOW)
    copy = upgrade(place, history(tmp_path))
    store.close()
    with closing(sqlite3.connect(str(copy))) as connection:
        assert connection.execute("SELECT id FROM enrollments").fetchall() == [(row.id,)]


def test_no_upgrade_without_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, scripts = SqlitePlace(tmp_path / "kipuka.db"), history(tmp_path)
    place.open().close()

    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(StoreUnavailable, match=r"so its tables were not upgraded: .*No space left on device"):
        upgrade(place, scripts)
    monkeypatch.undo()
    assert [each.name for each in tmp_path.glob("kipuka.db*")] == ["kipuka.db"]
    place.open().close()


def test_failed_upgrade_leaves_all_as_it_was(place: Place, row: Enrollment, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        upgrade(place, history(tmp_path, "1 / 0"))
    assert "more" not in tables(place.url)
    assert place.open().get(row.id) == row


def test_newer_database_is_refused(place: Place, row: Enrollment, tmp_path: Path) -> None:
    upgrade(place, history(tmp_path))
    for is_allowed in (True, False):
        with pytest.raises(
            UnusableDatabase, match=f"have version 9999 and this kipuka knows none after {NEWEST}: run the "
        ):
            Store.open(place.url, upgrade=is_allowed)
    assert place.sql("SELECT subject FROM enrollments") == row.application.subject


def test_command_beside_the_daemon_upgrades_nothing(place: Place, row: Enrollment, tmp_path: Path) -> None:
    database = open_database(place.url, create=False, connections=1)
    with pytest.raises(UnusableDatabase, match=f"have version {NEWEST} and this kipuka needs 9999; start the daemon"):
        bring_up_to_date(database, upgrade=False, scripts=history(tmp_path))
    database.close()
    store = Store.open(place.url, upgrade=False)
    assert store.get(row.id) == row
    store.close()


def test_command_beside_the_daemon_makes_nothing(place: Place) -> None:
    with pytest.raises(UnusableDatabase, match=r"the daemon makes it when it starts|have version none"):
        Store.open(place.url, upgrade=False)
    if isinstance(place, SqlitePlace):
        assert not place.path.exists()
    else:
        assert tables(place.url) == set()


def test_tables_of_somebody_else(place: Place) -> None:
    if isinstance(place, SqlitePlace):
        place.path.touch()
    place.sql("CREATE TABLE leases (tenant text)")
    with pytest.raises(UnusableDatabase, match="has a table leases that kipuka did not make"):
        place.open()
