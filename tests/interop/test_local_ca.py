"""Real clients against the daemon with a CA whose key is a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop import servers
from tests.interop.journey import Server
from tests.interop.suite import Journeys


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.running(servers.local_ca(tmp_path_factory.mktemp("local-ca"))) as running:
        yield running


class TestLocalCa(Journeys):
    pass
