"""Two daemons on one PostgreSQL in front of one CA."""

from __future__ import annotations

import contextlib
import copy
import signal
from collections.abc import Iterator
from pathlib import Path

from kipuka.observe.audit.chain import Walk
from kipuka.store.store import Store
from tests.process.ledger.site import Site, until
from tests.support.daemon import Daemon, free_port
from tests.support.dogtag.server import DogtagServer
from tests.support.est_device import Device
from tests.support.postgres import Cluster

LEASE = 10
"""Seconds without a sign of its holder after which another node may poll."""
DEAD = 20
"""Seconds without a sign of life after which a node's submissions are looked up by another."""


class Node:
    """One daemon. Both have the same configuration but for their address."""

    def __init__(self, text: str, port: int, path: Path, url: str) -> None:
        self.port = free_port()
        path.write_text(
            text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.port}").replace(
                "[server]", "[server]\nshutdown_timeout = 3", 1
            )
            + f'[db]\nurl = "{url}"\n'
        )
        self.daemon = Daemon(path)

    def at(self, device: Device) -> Device:
        """The device, connecting to this node."""
        other = copy.copy(device)
        other._port = self.port
        return other

    def did(self, event: str) -> int:
        """How often this node made an event happen."""
        return self.daemon.log_text().count(f'"event": "enrollment {event}"')

    def kill(self) -> None:
        """kill -9."""
        self.daemon.signal(signal.SIGKILL)
        self.daemon.wait()

    def restart(self) -> None:
        self.daemon.spawn()
        self.daemon.wait_until_ready()


class Nodes:
    """Both of them.

    :param site: users, devices and the rest of the configuration; its own daemon is never started.
    """

    def __init__(self, site: Site, url: str, folder: Path) -> None:
        self.site = site
        self.dogtag = site.dogtag
        self.url = url
        text = site.config.read_text()
        self.both = tuple(Node(text, site.port, folder / f"node-{number}.toml", url) for number in (1, 2))

    def audited(self) -> int:
        """How many records the audit has in the database; they are one chain, whoever wrote them."""
        walk = Walk()
        with contextlib.closing(Store.open(self.url, upgrade=False)) as store:
            assert list(store.audit.check(walk)) == []
        return walk.count

    def which(self, event: str) -> tuple[Node, Node]:
        """The node that made the event happen, and the other; wait until one has."""
        until(lambda: any(node.did(event) for node in self.both), 30, f"{event} did not happen")
        first, second = self.both
        assert not (first.did(event) and second.did(event)), f"{event} happened at both nodes"
        return (first, second) if first.did(event) else (second, first)


@contextlib.contextmanager
def nodes(folder: Path, cluster: Cluster, *, approval: int = 30) -> Iterator[Nodes]:
    """Run both before a stand-in Dogtag; neither ever fails in an unforeseen way."""
    (folder / "dogtag").mkdir()
    with DogtagServer(folder / "dogtag") as dogtag, contextlib.ExitStack() as stack:
        pair = Nodes(Site(folder, dogtag, approval=approval), cluster.database(), folder)
        for node in pair.both:
            stack.enter_context(node.daemon)
        yield pair
        for node in pair.both:
            assert "Traceback" not in node.daemon.log_text(), node.daemon.log_tail()
