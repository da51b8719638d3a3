"""What ``kipuka doctor`` says of a database of either kind; SQLite's own troubles are in tests/unit/cli/doctor."""

from __future__ import annotations

from kipuka.cli.doctor.checks import store as doctor
from kipuka.cli.doctor.findings import Finding, Level
from tests.support.postgres import Cluster
from tests.unit.store.places import Place, PostgresPlace, tables


def last(place: Place) -> Finding:
    return list(doctor.findings(place.url))[-1]


def test_good_and_unchanged(place: Place) -> None:
    store = place.open()
    before = place.sql("SELECT count(*) FROM enrollments")
    assert {each.level for each in doctor.findings(place.url)} == {Level.OK}
    assert last(place).text == "it can be written"
    assert place.sql("SELECT count(*) FROM enrollments") == before
    store.close()


def test_no_tables_and_none_made(place: Place) -> None:
    place.sql("CREATE TABLE mine (a INTEGER)")
    found = last(place)
    assert (found.level, found.text) == (Level.WARNING, "the database has no tables of kipuka yet")
    assert tables(place.url) == {"mine"}


def test_read_only(cluster: Cluster, database: str) -> None:
    """A standby of PostgreSQL answers like this; a file that root may write cannot be made so here."""
    place = PostgresPlace(cluster, database)
    place.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    place.open().close()
    place.close()
    found = list(doctor.findings(f"{database}&options=-c%20default_transaction_read_only%3Don"))[-1]
    assert found.level is Level.FAULT
    assert "read-only transaction" in found.text
