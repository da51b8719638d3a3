"""Clients that enroll one device after the other, and an account of everything they saw.

with Load(site.device, "auto/simpleenroll", clients=8) as load:
    load.served(20)                           # wait until 20 devices have their certificate
    ...
assert load.failures == []
assert load.has_one_each(every certificate that was made)
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.est_device import Answer, Device

_PATIENCE = 300.0


class Load:
    """Steady load. A device that is told to come back does so until it has its certificate.

    :param new_device: makes a device with a key of its own; called from several threads.
    :ivar done: the devices that have their certificate, and the answers that brought it.
    :ivar told_to_wait: how often a client got 503 with Retry-After.
    :ivar failures: everything else that a client saw: other answers, broken connections.
    """

    def __init__(self, new_device: Callable[[], Device], path: str, clients: int = 6) -> None:
        self._new_device = new_device
        self._path = path
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.done: list[tuple[Device, Answer]] = []
        self.told_to_wait = 0
        self.failures: list[str] = []
        self.started = self.ended = 0.0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_PATIENCE)
        self.ended = time.monotonic()
        if any(thread.is_alive() for thread in self._threads):
            self.failures.append("a client was still waiting at the end")

    def served(self, number: int, seconds: float = 30) -> None:
        """Wait until so many more have their certificate."""
        goal, deadline = len(self.done) + number, time.monotonic() + seconds
        while len(self.done) < goal:
            missing = goal - len(self.done)
            assert time.monotonic() < deadline, f"{missing} of {number} devices were not served in {seconds:.0f} s"
            time.sleep(0.02)

    def served_after(self, moment: float) -> list[x509.Certificate]:
        """What was handed out after this time of :func:`time.monotonic`."""
        return [answer.certificate for _, answer in self.done if answer.at > moment]

    def has_one_each(self, made: Iterable[x509.Certificate]) -> bool:
        """Whether each device has the only certificate that was ever made for its key."""
        made_for = Counter(map(_key, made))
        return all(
            made_for[device.public_key] == 1 and _key(answer.certificate) == device.public_key
            for device, answer in self.done
        )

    def account(self) -> str:
        """One line for people."""
        seconds = self.ended - self.started
        slowest = max((answer.seconds for _, answer in self.done), default=0)
        return (
            f"{len(self.done)} devices in {seconds:.0f} s ({len(self.done) / seconds:.1f}/s), slowest answer "
            f"{slowest:.1f} s, {self.told_to_wait} times 503 with Retry-After, {len(self.failures)} failures"
        )

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._enroll(self._new_device())
            except Exception as error:
                with self._lock:
                    self.failures.append(f"{type(error).__name__}: {error}")

    def _enroll(self, device: Device) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (answer := device.ask(self._path)).status == 503 and time.monotonic() < deadline:
            assert answer.retry_after > 0
            with self._lock:
                self.told_to_wait += 1
            time.sleep(0.3)
        if answer.status != 200:
            raise AssertionError(f"{answer.status} {answer.body!r}")
        with self._lock:
            self.done.append((device, answer))


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
