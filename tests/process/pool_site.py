"""kipuka in front of two stand-in Dogtags that are clones of each other, and clients that keep on asking."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.process.ledger_site import AUTO, Site, until
from tests.support.dogtag_server import DogtagServer
from tests.support.est_device import Answer, Device

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
        self.logged(rf'"event": "ca health", "ca": "{ca}", [^\n]*"after": "{state}"', number, seconds)

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


class Load:
    """Clients that enroll one device after the other, each until it has its certificate.

    :ivar done: the devices and what they got in the end.
    :ivar told_to_wait: how often a client got 503 with Retry-After.
    :ivar failures: everything else that a client saw.
    """

    def __init__(self, site: PoolSite, clients: int = 6, path: str = AUTO) -> None:
        self._site = site
        self._path = path
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.done: list[tuple[Device, Answer]] = []
        self.told_to_wait = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "a client is still waiting"

    def served(self, number: int, seconds: float = 30) -> None:
        """Wait until so many more have their certificate."""
        goal = len(self.done) + number
        until(lambda: len(self.done) >= goal, seconds, f"fewer than {number} more devices were served")

    def _work(self) -> None:
        while not self._stopping.is_set():
            device = self._site.device()
            try:
                self._enroll(device)
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _enroll(self, device: Device) -> None:
        deadline = time.monotonic() + 90
        while (answer := device.ask(self._path)).status == 503 and time.monotonic() < deadline:
            assert answer.retry_after > 0
            with self._lock:
                self.told_to_wait += 1
            time.sleep(0.3)
        if answer.status != 200:
            raise AssertionError(f"{answer.status} {answer.body!r}")
        with self._lock:
            self.done.append((device, answer))

    def has_one_certificate_each(self) -> bool:
        """Whether each device has the only certificate that was ever made for it."""
        per_key = Counter(_key(each) for each in self._site.alive().issued())
        return all(per_key[device.public_key] == 1 for device, _ in self.done) and all(
            _key(answer.certificate) == device.public_key for device, answer in self.done
        )


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
