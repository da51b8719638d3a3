"""Two nodes on one PostgreSQL before the real Dogtag; an agent approves over its REST interface."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from tests.chaos import site as chaos_site
from tests.chaos.dogtag import Dogtag
from tests.dogtag.lab_export import Lab
from tests.process.ledger.nodes import LEASE, Node
from tests.process.ledger.site import until
from tests.support import postgres
from tests.support.est_device import Device

MANUAL = "manual/simpleenroll"


class Pair:
    """Both nodes, devices, and the agent."""

    def __init__(self, lab: Lab, folder: Path, url: str) -> None:
        self.agent = Dogtag(lab)
        self.site = chaos_site.make(folder, lab, urlsplit(lab.url).port or 443)
        text = re.sub(r"^\[db\]\nurl = .*\n", "", self.site.config.read_text(), flags=re.MULTILINE)
        text = re.sub(r"^approval_timeout = .*", "approval_timeout = 10", text, flags=re.MULTILINE)
        self.both = tuple(Node(text, self.site.port, folder / f"node-{number}.toml", url) for number in (1, 2))
        self.name = f"nodes-{secrets.token_hex(4)}"
        self._count = 0
        self._foreign = set(self.agent.pending())

    def device(self) -> Device:
        self._count += 1
        birth = self.site.maker.client(f"CN=serial {self._count}").write(self.site.folder, f"birth-{self._count}")
        subject = f"CN={self.name}-{self._count}.kipuka.test"
        return Device(0, self.site.trust, subject, files=birth)

    def approve(self) -> float:
        """Approve all that waits of this run; return when the last was."""
        for number in sorted(set(self.agent.pending()) - self._foreign):
            document = self.agent.review(number)
            if self.name in str(document):
                self.agent.decide(document, "approve")
        return time.monotonic()

    def certificates(self, device: Device) -> list[x509.Certificate]:
        return device.certificates(self.agent.certificates(self.name))

    def waits(self, number: int) -> None:
        """Wait until so many requests have been put off by the CA, at both nodes together."""
        until(lambda: sum(node.did("deferred") for node in self.both) >= number, 60, f"{number} do not wait")


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> Iterator[Pair]:
    postgres.needed()
    with postgres.Cluster() as cluster:
        pair = Pair(lab, tmp_path, cluster.database())
        first, second = pair.both
        with first.daemon, second.daemon:
            yield pair
        pair.agent.close()
        for node in pair.both:
            assert "Traceback" not in node.daemon.log_text(), node.daemon.log_tail()


def test_an_approval_reaches_who_waits_at_either_node_and_who_comes_back_to_the_other(pair: Pair) -> None:
    first, second = pair.both
    here, there, gone = (pair.device() for _ in range(3))
    assert first.at(gone).ask(MANUAL).status == 202  # after approval_timeout
    waiting = [first.at(here).asking(MANUAL), second.at(there).asking(MANUAL)]
    pair.waits(3)
    approved = pair.approve()
    for device, each in zip((here, there), waiting, strict=True):
        answer = each.result(timeout=60)
        assert pair.certificates(device) == [answer.certificate]
        # The poll sees it within its interval; the other node sees that within a second.
        assert answer.at - approved < chaos_site.POLL_INTERVAL + 2
    assert pair.certificates(gone) == [second.at(gone).ask(MANUAL).certificate]


def test_when_the_poller_is_killed_the_other_sees_the_approval(pair: Pair) -> None:
    first, second = pair.both
    known = first.at(pair.device()).asking(MANUAL)
    pair.waits(1)
    pair.approve()
    assert known.result(timeout=60).status == 200
    poller, other = (first, second) if first.did("granted") else (second, first)
    device = pair.device()
    assert poller.at(device).ask(MANUAL).status == 202
    poller.kill()
    pair.approve()
    deadline = time.monotonic() + LEASE + 10
    while (answer := other.at(device).ask(MANUAL)).status == 202:
        assert time.monotonic() < deadline
    assert pair.certificates(device) == [answer.certificate]
    poller.restart()
