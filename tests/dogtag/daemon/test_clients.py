"""Real clients against the daemon with a real Dogtag behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dogtag.lab_export import Lab
from tests.interop import servers
from tests.interop.journey import Server
from tests.interop.suite import Journeys
from tests.support.pki import Files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Iterator[Server]:
    agent = Files(lab.agent.certificate, lab.agent.key)
    site = servers.dogtag(tmp_path_factory.mktemp("dogtag"), lab.url, agent, lab.ca_chain, "kipukaServer")
    with servers.running(site) as running:
        yield running


class TestDogtag(Journeys):
    pass
