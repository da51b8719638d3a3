"""What waiting for an agent costs: 10,000 pending requests at the CA, and 1,000 clients waiting on their connections.

    python -m bench.waiting

Against the stand-in Dogtag of the tests, whose answers are held to recordings; it and the clients are processes of
their own. Memory is the daemon's resident set. The aims are in brackets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from sqlalchemy import insert

from kipuka.store.database.opening import open_database
from kipuka.store.database.upgrade import bring_up_to_date
from kipuka.store.rows import State
from kipuka.store.schema import enrollments
from tests.process.ledger.site import MANUAL, POLL_INTERVAL, Site
from tests.support.daemon import ROOT
from tests.support.dogtag.server import LIST, SUBMIT, DogtagServer

PENDING = 10_000
CLIENTS = 1_000
WARM_UP = 50
ROUNDS = 10
CA_TIMEOUT = 60
"""Seconds: who waits for a free connection to the CA that long is told 503."""
PATIENCE = 600
"""Seconds."""


class Crowded(Site):
    """A site at whose CA all clients may wait for their turn: sixteen requests for each connection."""

    def cas(self, **settings: str | int) -> str:
        """The tables of the CA."""
        return super().cas(max_connections=CLIENTS // 16 + 1, **settings)


def main() -> None:
    """Measure both."""
    for measure in (pending, waiting):
        with tempfile.TemporaryDirectory(prefix="kipuka-bench-") as folder:
            (Path(folder) / "dogtag").mkdir()
            with DogtagServer(Path(folder) / "dogtag") as dogtag:
                measure(Crowded(Path(folder), dogtag, approval=PATIENCE, patience=CA_TIMEOUT, connections=2 * CLIENTS))


def pending(site: Site) -> None:
    """Poll for 10,000 requests of which one after the other is approved."""
    _write_down(site, site.dogtag.fill(PENDING))
    with site.daemon:
        site.device().ask("auto/simpleenroll")  # the chain, the forms of profiles, a connection
        time.sleep(2 * POLL_INTERVAL)
        before, busy = site.dogtag.calls(), _cpu_seconds(site)
        time.sleep(ROUNDS * POLL_INTERVAL)
        calls, busy = site.dogtag.calls() - before, _cpu_seconds(site) - busy
        gaps = [later - earlier for earlier, later in pairwise(site.dogtag.moments(LIST)[-calls[LIST] :])]
        others = sum(calls.values()) - calls[LIST]
        length, cost = median(gaps) - POLL_INTERVAL, busy / calls[LIST]
        print(f"{PENDING} pending: {calls[LIST]} lists and {others} others in {ROUNDS} intervals (at most 1 list each)")
        print(f"{PENDING} pending: a round takes {1000 * length:.0f} ms and {1000 * cost:.0f} ms of CPU", flush=True)
        spent = [_approval_to_answer(site, number) for number in range(1, ROUNDS + 1)]
        print(f"{PENDING} pending: approval to answer {_range(spent)} ({POLL_INTERVAL + 1} s at most)", flush=True)


def waiting(site: Site) -> None:
    """Have 1,000 clients wait, and approve them all."""
    with site.daemon:
        _crowd(site, WARM_UP, 0)
        before = _resident(site)
        started = time.monotonic()
        grown, approved, last = _crowd(site, CLIENTS, WARM_UP)
        print(f"{CLIENTS} clients waiting: {(grown - before) / CLIENTS / 1024:.1f} KiB each (100)")
        print(f"{CLIENTS} clients waiting: {approved - started:.1f} s until all were pending")
        print(f"{CLIENTS} clients waiting: {last - approved:.1f} s from the approval of all to the last answer")


def _crowd(site: Site, number: int, earlier: int) -> tuple[int, float, float]:
    """Let so many clients wait and be answered; return the daemon's bytes, and when they were approved and answered."""
    files = site.birth(0)
    arguments = [site.port, site.trust, files.certificate, files.key, number, "manual"]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.crowd", *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as clients:
        assert clients.stdout is not None
        try:
            next(clients.stdout)  # the requests are out
            site.happened("deferred", earlier + number, PATIENCE)
            time.sleep(2)
            bytes_ = _resident(site)
            approved = time.monotonic()
            site.dogtag.approve()
            told = json.loads(next(clients.stdout))
        finally:
            clients.kill()
    if told["statuses"] != {"200": number}:
        raise RuntimeError(f"the clients were answered {told['statuses']}")
    if site.dogtag.calls()[SUBMIT] != earlier + number:
        raise RuntimeError("requests were submitted more than once")
    return bytes_, approved, float(told["last"])


def _approval_to_answer(site: Site, number: int) -> float:
    device = site.device()
    answer = device.asking(MANUAL)
    site.happened("deferred", number)
    time.sleep(POLL_INTERVAL * number / ROUNDS)  # at any moment between two rounds
    newest = max(site.dogtag.requests("pending"))
    approved = time.monotonic()
    site.dogtag.approve([newest])
    answered = answer.result(timeout=PATIENCE)
    _ = answered.certificate
    return answered.at - approved


def _range(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} s median, {min(seconds):.2f} to {max(seconds):.2f} s"


def _write_down(site: Site, numbers: list[int]) -> None:
    """Make the ledger of a daemon that submitted these requests, before it starts."""
    database = open_database(f"sqlite:///{site.database}", create=True, connections=1)
    bring_up_to_date(database)
    now = datetime.now(UTC)
    rows = [
        {
            "key": f"{number:064x}",
            "caller": f"certificate:CN=serial {number}",
            "operation": "simpleenroll",
            "label": "manual",
            "ca_id": "dogtag",
            "profile": "kipukaServerManual",
            "public_key": f"{number:064x}",
            "subject": f"CN=device-{number}",
            "state": State.PENDING,
            "created": now,
            "updated": now,
            "request_id": str(number),
        }
        for number in numbers
    ]
    with database.write() as connection:
        connection.execute(insert(enrollments), rows)
    database.close()


def _resident(site: Site) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{site.daemon.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(site: Site) -> float:
    fields = Path(f"/proc/{site.daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
