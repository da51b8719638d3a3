"""kipuka in front of two stand-in Dogtags that are clones of each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.process.ledger.site import AUTO, Site
from tests.support.dogtag.server import DogtagServer
from tests.support.est_load import Load

FAILURES, SUCCESSES = 2, 2
INTERVAL = PROBE = 1
"""Seconds between probes, and for one."""


class PoolSite(Site):
    """The group "dogtag" of the CAs "primary" and "secondary"."""

    def __init__(self, folder: Path, primary: DogtagServer, secondary: DogtagServer, ha: str = "") -> None:
        self.primary, self.secondary = primary, secondary
        self._ha = ha
        super().__init__(folder, primary)

    def cas(self, **settings: str | int) -> str:
        """Both, and the group."""
        return f"""
{self.primary.table(id="primary", **settings)}
{self.secondary.table(id="secondary", **settings)}
[ha]
enabled = true
{self._ha or 'strategy = "active-passive"'}
[[ha.group]]
name = "dogtag"
ca_ids = ["primary", "secondary"]
health_check_interval = {INTERVAL}
timeout = {PROBE}
failure_threshold = {FAILURES}
success_threshold = {SUCCESSES}
"""

    def became(self, ca: str, state: str, number: int = 1, seconds: float = 20) -> None:
        """Wait until the audit has said so many times that a CA's breaker came to be so."""
        self.logged(rf'"event": "ca state", [^\n]*"ca": "{ca}", [^\n]*"outcome": "{state}"', number, seconds)

    def sent_to(self, server: DogtagServer) -> int:
        """How many certificates of all that exist were made by this CA."""
        first = server.first
        other = self.secondary if server is self.primary else self.primary
        return sum(
            each.serial_number >= first and not (other.first > first and each.serial_number >= other.first)
            for each in self.alive().issued()
        )

    def alive(self) -> DogtagServer:
        """One of the two that can be asked."""
        return self.secondary if self.secondary.is_running else self.primary

    def load(self, clients: int = 6) -> Load:
        """Clients that go on enrolling."""
        return Load(self.device, AUTO, clients)


@contextlib.contextmanager
def running(folder: Path, ha: str = "") -> Iterator[PoolSite]:
    """Run all three; whatever was done to it, the daemon never failed in an unforeseen way."""
    for name in ("primary", "secondary"):
        (folder / name).mkdir()
    primary = DogtagServer(folder / "primary")
    secondary = DogtagServer(folder / "secondary", clone_of=primary)
    with primary, secondary:
        site = PoolSite(folder, primary, secondary, ha)
        with site.daemon:
            yield site
        assert "Traceback" not in site.daemon.log_text(), site.daemon.log_tail()
