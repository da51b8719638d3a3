"""kipuka as a pool of the lab's CA and its clone, under load, and what is done to the two.

By hand, for the numbers (kills nothing):  python -m tests.dogtag.daemon.pool_site [SECONDS]
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import secrets
import ssl
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from tests.chaos import dogtag as chaos_dogtag
from tests.chaos import site as chaos_site
from tests.chaos.dogtag import Dogtag
from tests.dogtag import lab_control
from tests.dogtag.lab_export import Lab
from tests.process.ledger.site import until
from tests.support.daemon import Daemon
from tests.support.est_device import Device
from tests.support.est_load import Load

AUTO = "auto/simpleenroll"
CLIENTS = 8
CA_TIMEOUT = 10
PATIENCE = 240.0
"""Seconds a device waits for its answer: longer than kipuka ever keeps one waiting."""
CLONES_FIRST_SERIAL = 0xFFF0000
"""The clone's serial numbers are from a range of their own."""

_LOOK = 0.2

_GROUP = """
[ha]
enabled = true
strategy = "{strategy}"
[[ha.group]]
name = "dogtag"
ca_ids = {members}
health_check_interval = "2s"
timeout = "{probe}s"
"""


class PoolSite:
    """The group "dogtag" of "primary" and "secondary"; with ``alone`` of the primary only.

    :param probe: seconds a probe may take. Few, that one that stands still is found out soon.
    """

    def __init__(
        self, lab: Lab, folder: Path, strategy: str = "active-passive", *, alone: bool = False, probe: int = 2
    ) -> None:
        assert lab.clone_url is not None, "this needs the lab's clone: lab up --second"
        self._site = chaos_site.make(folder, lab, urlsplit(lab.url).port or 443)
        self._agents = [Dogtag(lab), Dogtag(lab, lab.clone_url)]
        self._name = f"pool-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        members = ["primary"] if alone else ["primary", "secondary"]
        text = self._site.config.read_text().replace('"10s"', f'"{CA_TIMEOUT}s"')
        (table,) = re.findall(r"^\[\[ca\]\]\n(?:.+\n|\n(?!\[))+", text, re.MULTILINE)
        port = urlsplit(lab.clone_url).port
        primary = table.replace('id = "dogtag"', 'id = "primary"')
        secondary = re.sub(r":[0-9]+\"", f':{port}"', table.replace('id = "dogtag"', 'id = "secondary"'))
        group = _GROUP.format(strategy=strategy, members=json.dumps(members), probe=probe)
        self._site.config.write_text(text.replace(table, primary + secondary + group))
        self.daemon = Daemon(self._site.config)

    def device(self) -> Device:
        """Return a new device."""
        number = next(self._numbers)
        birth = self._site.maker.client(f"CN=serial {number}").write(self._site.folder, f"birth-{number}")
        subject = f"CN={self._name}-{number}.kipuka.test"
        return Device(self._site.port, self._site.trust, subject, files=birth, patience=PATIENCE)

    def load(self, clients: int = CLIENTS) -> Load:
        """Clients that go on enrolling."""
        return Load(self.device, AUTO, clients)

    def made(self) -> list[x509.Certificate]:
        """Every certificate that either CA has made for these devices.

        Both are asked: replication to one that was away takes up to as long again.
        """
        try:
            return list({each for agent in self._agents for each in agent.certificates(self._name)})
        finally:
            for agent in self._agents:
                agent.close()

    def settled(self, seconds: float = 180) -> None:
        """Wait until it is known of every lost answer what became of its request."""

        def none_is_lost() -> bool:
            text = self.daemon.log_text()
            lost = re.findall(r'"event": "enrollment answer lost", [^\n]*"enrollment": ([0-9]+)', text)
            found = set(
                re.findall(r'"event": "enrollment (?:granted|absence proven)", [^\n]*"enrollment": ([0-9]+)', text)
            )
            return found.issuperset(lost)

        until(none_is_lost, seconds, "it was not found out what became of every request")

    def became(self, ca: str, state: str, number: int = 1, seconds: float = 90) -> None:
        """Wait until the audit has said so many times that a CA's breaker came to be so."""
        pattern = re.compile(rf'"event": "ca state", [^\n]*"ca": "{ca}", [^\n]*"outcome": "{state}"')
        until(lambda: len(pattern.findall(self.daemon.log_text())) >= number, seconds, f"{ca} did not become {state}")

    @contextlib.contextmanager
    def watched(self, ca: str) -> Iterator[list[str]]:
        """Ask ``/health/ca`` again and again how a CA is; the list grows by each status that is another one."""
        seen: list[str] = []
        over = threading.Event()
        trust = ssl.create_default_context(cafile=self._site.trust)

        def look() -> None:
            while not over.wait(_LOOK):
                with urllib.request.urlopen(f"https://localhost:{self._site.port}/health/ca", context=trust) as answer:
                    status = json.load(answer)[ca]["status"]
                if seen[-1:] != [status]:
                    seen.append(status)

        with ThreadPoolExecutor(1) as thread:
            looking = thread.submit(look)
            try:
                yield seen
            finally:
                over.set()
            looking.result()

    def states(self) -> list[str]:
        """Every change of a CA's state that the audit has told of, for people."""
        pattern = r'"event": "ca state", [^\n]*"ca": "([^"]+)", [^\n]*"outcome": "([^"]+)"'
        return [" ".join(each) for each in re.findall(pattern, self.daemon.log_text())]


@contextlib.contextmanager
def running(
    lab: Lab, folder: Path, strategy: str = "active-passive", *, alone: bool = False, probe: int = 2
) -> Iterator[PoolSite]:
    """Run kipuka; whatever was done to the lab, it is whole again afterwards."""
    site = PoolSite(lab, folder, strategy, alone=alone, probe=probe)
    try:
        with site.daemon:
            yield site
        assert "Traceback" not in site.daemon.log_text(), site.daemon.log_tail()
    finally:
        thaw()
        lab_control.start()


def freeze() -> None:
    """SIGSTOP of the primary's Tomcat: it accepts connections and never answers."""
    _signal("STOP")


def thaw() -> None:
    """SIGCONT."""
    _signal("CONT")


def _signal(name: str) -> None:
    lab_control.command("enter", "/bin/sh", "-c", f"kill -{name} $(cat /run/lab/pki-pki-tomcat.pid) || true")


def is_clones(certificate: x509.Certificate) -> bool:
    """Whether the clone made it."""
    return certificate.serial_number >= CLONES_FIRST_SERIAL


def main() -> None:
    """Print the throughput of one CA and of two, side by side."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    lab = chaos_dogtag.lab()
    for alone in (True, False, True, False):
        with tempfile.TemporaryDirectory() as folder, running(lab, Path(folder), "active-active", alone=alone) as site:
            with site.load() as load:
                time.sleep(seconds)
            clones = sum(is_clones(answer.certificate) for _, answer in load.done)
            print(f"{'one CA ' if alone else 'two CAs'}: {load.account()}; {clones} by the clone")


if __name__ == "__main__":
    main()
