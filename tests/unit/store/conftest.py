"""Every test that asks for a place runs twice: in an SQLite file and in a database of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kipuka.store.store import Store
from tests.support import postgres
from tests.unit.store.places import Place, PostgresPlace, SqlitePlace


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    postgres.needed()
    with postgres.Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def database(cluster: postgres.Cluster) -> str:
    """One for all: making and removing one for each test takes longer than the tests."""
    return cluster.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty database."""
    if request.param == "sqlite":
        place: Place = SqlitePlace(tmp_path / "kipuka.db")
    else:
        place = PostgresPlace(request.getfixturevalue("cluster"), request.getfixturevalue("database"))
        place.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    yield place
    place.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
