"""The ledger itself: out of reach, and looked into beside the running daemon."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.process.ledger.site import AUTO, MANUAL, RETRY_AFTER, Site, running
from tests.support.daemon import ROOT
from tests.support.dogtag.server import SUBMIT

BUSY, QUEUE = 10, 10
"""Seconds that the database waits for another writer, and a request for the database."""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Let nobody else write."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def kipuka(*words: str) -> str:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "kipuka", *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout


def enrollments(site: Site, action: str, *words: str) -> str:
    return kipuka("enrollments", action, str(site.config), *words)


def test_nothing_is_sent_to_the_ca_that_cannot_be_written_down(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        devices = [site.device() for _ in range(8)]
        with locked(site.database):
            answers = [each.result(timeout=60) for each in [device.asking(AUTO) for device in devices]]
        assert {(each.status, each.retry_after) for each in answers} == {(503, RETRY_AFTER)}
        assert max(each.seconds for each in answers) < BUSY + QUEUE + 3  # not as often as there are others before them
        assert site.dogtag.calls()[SUBMIT] == 0
        assert all(device.ask(AUTO).status == 200 for device in devices)


def test_what_the_ca_answers_meanwhile_is_written_down_later(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        waiting = device.asking(MANUAL)
        site.happened("deferred")
        with locked(site.database):
            site.dogtag.approve()
            site.logged("the ledger cannot be reached", seconds=30)
        answer = waiting.result(timeout=60)
        assert device.certificates(site.dogtag.issued()) == [answer.certificate]


def test_an_operator_sees_and_ends_what_is_stuck(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device("CN=stuck")
        waiting = device.asking(MANUAL)
        site.happened("deferred")
        (number,) = site.dogtag.requests("pending")
        listed = enrollments(site, "list")
        assert re.search(rf"^1 +pending .* dogtag +manual +{number} .*CN=stuck$", listed, re.MULTILINE)
        assert "CN=stuck" in enrollments(site, "show", "1")
        enrollments(site, "abandon", "1", "--yes")
        answer = waiting.result(timeout=30)
        assert answer.status == 403
        assert answer.body.startswith(b"An administrator ended the request: ask again if need be.")
        assert "CN=stuck" not in enrollments(site, "list")
        again = device.asking(MANUAL)
        assert len(site.dogtag.wait_for("pending", 2)) == 2
        site.happened("deferred", 2)
        site.dogtag.approve()
        assert again.result(timeout=30).status == 200
