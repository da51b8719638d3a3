"""A PostgreSQL database of a test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Cluster
from tests.unit.store.places import PostgresPlace


@pytest.fixture
def server(cluster: Cluster) -> Iterator[PostgresPlace]:
    """A database whose settings may be changed."""
    place = PostgresPlace(cluster, cluster.database())
    yield place
    place.close()
