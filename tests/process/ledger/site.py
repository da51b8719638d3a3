"""kipuka in front of the stand-in Dogtag, each a process of its own, for the tests of the ledger."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kipuka.access.credentials.users import hash_password
from tests.support import pki
from tests.support.daemon import Daemon, free_port
from tests.support.dogtag.server import DogtagServer
from tests.support.est_device import Device

MANUAL, AUTO = "manual/simpleenroll", "auto/simpleenroll"
"""What a device asks for: a profile whose requests wait for an agent, and one that issues at once."""
POLL_INTERVAL = 1
CA_TIMEOUT = 2
"""Seconds. After twice this time without a trace of it at the CA, a request is taken not to be there."""
RETRY_AFTER = 7

_PASSWORD = "correct horse"
_HASH = hash_password(_PASSWORD)


class Site:
    """Times are seconds.

    :param approval: how long clients are kept waiting for an agent.
    :param replay: how long the same request gets the same certificate.
    :param patience: for an answer of the CA.
    :param connections: how many there may be at a time.
    """

    def __init__(
        self,
        folder: Path,
        dogtag: DogtagServer,
        *,
        approval: int = 30,
        replay: int = 600,
        patience: int = CA_TIMEOUT,
        connections: int = 256,
    ) -> None:
        self.dogtag = dogtag
        self.database = folder / "kipuka.db"
        self._folder = folder
        self._maker = pki.root("CN=Device Maker")
        self.trust = folder / "tls-root.pem"
        self._numbers = itertools.count(1)
        self.port = free_port()
        self.config = folder / "kipuka.toml"
        self.config.write_text(self._configuration(approval, replay, patience, connections))
        self.daemon = Daemon(self.config)

    def device(
        self, subject: str | None = None, *, user: str | None = None, key: pki.PrivateKey | None = None
    ) -> Device:
        """Return a device that shows its maker's certificate, or a user's password."""
        number = next(self._numbers)
        subject = subject or f"CN=device-{number}"
        if user is not None:
            return Device(self.port, self.trust, subject, user=(user, _PASSWORD), key=key)
        return Device(self.port, self.trust, subject, files=self.birth(number), key=key)

    def birth(self, number: int) -> pki.Files:
        """Return a certificate of the devices' maker."""
        return self._maker.client(f"CN=serial {number}").write(self._folder, f"birth-{number}")

    def holder(self, device: Device, identity: pki.Identity) -> Device:
        """Return a device with the subject and key of another, and a certificate that was issued to it."""
        files = identity.write(self._folder, f"holder-{next(self._numbers)}")
        return Device(self.port, self.trust, identity.certificate.subject.rfc4514_string(), files=files, key=device.key)

    def kill(self) -> None:
        """kill -9 the daemon."""
        self.daemon.signal(signal.SIGKILL)
        self.daemon.wait()

    def start(self) -> None:
        """Start the daemon again."""
        self.daemon.spawn()
        self.daemon.wait_until_ready()

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement on the database, past the daemon."""
        with contextlib.closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def happened(self, event: str, number: int = 1, seconds: float = 10) -> None:
        """Wait until the audit says that an event happened so many times: "deferred", "granted", "client gone", ..."""
        self.logged(f'"event": "(enrollment )?{event}"', number, seconds)

    def logged(self, pattern: str, number: int = 1, seconds: float = 10) -> None:
        """Wait until the daemon's log matches so many times."""
        expression = re.compile(pattern)

        def seen() -> bool:
            return len(expression.findall(self.daemon.log_text())) >= number

        until(seen, seconds, f"the daemon's log did not say {pattern} {number} times")

    def cas(self, **settings: str | int) -> str:
        """The tables of what is called "dogtag" in the configuration."""
        return self.dogtag.table(**settings)

    def _configuration(self, approval: int, replay: int, patience: int, connections: int) -> str:
        root = pki.root("CN=TLS Root")
        tls = root.server().write(self._folder, "tls")
        self.trust.write_bytes(pki.pem(root.certificate))
        maker = self._folder / "maker.pem"
        maker.write_bytes(pki.pem(self._maker.certificate))
        (self._folder / "users").write_text(f"alice:{_HASH}\nbob:{_HASH}\n")
        anchors = json.dumps([str(maker), str(self.dogtag.trust)])
        settings = {"timeout": patience, "poll_interval": POLL_INTERVAL, "approval_timeout": approval}
        return f"""
[server]
listen = "127.0.0.1:{self.port}"
max_connections = {connections}
max_connections_per_address = {connections}
[tls]
cert = "{tls.certificate}"
key = "{tls.key}"
[tls.client_auth]
trust_anchors = {anchors}
{self.cas(profile="kipukaServer", **settings)}
[est]
users = "users"
retry_after = {RETRY_AFTER}
replay_window = {replay}
[[est.label]]
name = "manual"
ca_id = "dogtag"
dogtag_profile = "kipukaServerManual"
[[est.label]]
name = "auto"
ca_id = "dogtag"
dogtag_profile = "kipukaServer"
"""


@contextlib.contextmanager
def running(folder: Path, *, approval: int = 30, replay: int = 600, kind: type[Site] = Site) -> Iterator[Site]:
    """Run both; whatever was done to it, the daemon never failed in an unforeseen way."""
    (folder / "dogtag").mkdir()
    with DogtagServer(folder / "dogtag") as dogtag:
        site = kind(folder, dogtag, approval=approval, replay=replay)
        with site.daemon:
            yield site
        assert "Traceback" not in site.daemon.log_text(), site.daemon.log_tail()


def until(true: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{otherwise} in {seconds:.0f} s"
        time.sleep(0.02)
