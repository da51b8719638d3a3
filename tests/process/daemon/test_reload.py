"""SIGHUP under work: requests in hand, clients that wait and the CAs' state survive a change of the configuration."""

from __future__ import annotations

import itertools
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.ledger.site import AUTO, MANUAL, POLL_INTERVAL, Site, running, until
from tests.support.daemon import RELOADED
from tests.support.dogtag.server import LIST

RELOADS, ENROLLMENTS, WORKERS = 25, 50, 6
LABEL = """
[[est.label]]
name = "extra"
ca_id = "dogtag"
dogtag_profile = "kipukaServer"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path) as site:
        yield site


def edit(site: Site, old: str, new: str) -> None:
    text = site.config.read_text()
    assert old in text
    site.config.write_text(text.replace(old, new))


def test_a_label_comes_and_goes(site: Site) -> None:
    before = site.config.read_text()
    assert site.device().ask("extra/simpleenroll").status == 404
    site.config.write_text(before + LABEL)
    site.daemon.reload()
    assert site.device().ask("extra/simpleenroll").status == 200
    site.config.write_text(before)
    site.daemon.reload()
    assert site.device().ask("extra/simpleenroll").status == 404


def test_a_client_that_waits_keeps_waiting_and_is_answered(site: Site) -> None:
    device = site.device()
    waiting = device.asking(MANUAL)
    site.happened("deferred")
    for _ in range(3):
        site.daemon.reload()
    time.sleep(2 * POLL_INTERVAL)
    assert not waiting.done()
    site.dogtag.approve()
    (issued,) = device.certificates(site.dogtag.issued())
    assert waiting.result(timeout=30).certificate == issued


def test_one_ca_is_polled_by_one(site: Site) -> None:
    waiting = site.device().asking(MANUAL)
    site.happened("deferred")
    for _ in range(5):
        site.daemon.reload()
    time.sleep(2 * POLL_INTERVAL)  # each reload has a round of its own, the last of them perhaps after its log line
    before, began = site.dogtag.calls(), time.monotonic()
    time.sleep(8 * POLL_INTERVAL)
    rounds = (time.monotonic() - began) / POLL_INTERVAL
    assert 1 <= (site.dogtag.calls() - before)[LIST] <= 1.5 * rounds  # two who poll would make twice as many
    site.dogtag.approve()
    assert waiting.result(timeout=30).status == 200


def test_whose_label_is_gone_gets_the_certificate_all_the_same(site: Site) -> None:
    waiting = site.device().asking(MANUAL)
    site.happened("deferred")
    edit(site, 'name = "manual"', 'name = "renamed"')
    site.daemon.reload()
    assert site.device().ask(MANUAL).status == 404
    site.dogtag.approve()
    assert waiting.result(timeout=30).status == 200


def test_reloads_under_load_lose_no_request(site: Site) -> None:
    over = threading.Event()
    statuses: list[int] = []

    def work() -> None:
        while not over.is_set():
            statuses.append(site.device().ask(AUTO).status)

    text = site.config.read_text()
    with ThreadPoolExecutor(WORKERS) as threads:
        working = [threads.submit(work) for _ in range(WORKERS)]
        try:
            for number in itertools.count():
                site.config.write_text(text + LABEL * (number % 2))
                site.daemon.reload()
                if number >= RELOADS and len(statuses) >= ENROLLMENTS:
                    break
        finally:
            over.set()
        for each in working:
            each.result(timeout=60)
    assert set(statuses) == {200}
    assert len(site.dogtag.issued()) == len(statuses)


def test_nothing_is_left_of_what_was_exchanged(site: Site) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{site.daemon.process.pid}/fd").iterdir()))

    for _ in range(3):
        assert site.device().ask(AUTO).status == 200
        site.daemon.reload()
    before = descriptors()
    for _ in range(RELOADS):
        assert site.device().ask(AUTO).status == 200
        site.daemon.reload()
    # The store may open a connection more meanwhile, of two or three files; what each reload left would be more.
    until(lambda: descriptors() < before + RELOADS, 20, f"a file more for each reload than the {before} of before")


def test_a_bad_configuration_is_refused_with_its_faults_and_the_old_one_goes_on(site: Site) -> None:
    text = site.config.read_text()
    edit(site, 'ca_id = "dogtag"', 'ca_id = "dogtga"')
    edit(site, "retry_after = 7", 'retry_after = "soon"')
    site.daemon.reload(well=False)
    site.logged("the changed configuration is not used: est.retry_after")
    site.config.write_text(text.replace("[tls]", "[tls"))
    site.daemon.reload(well=False)
    (site.config.parent / "tls.pem").write_text("not a certificate")
    site.config.write_text(text)
    site.daemon.reload(well=False)
    site.logged("the changed configuration is not used: tls.cert")
    site.config.unlink()
    site.daemon.reload(well=False)
    assert site.device().ask(AUTO).status == 200
    assert RELOADED[True] not in site.daemon.log_text()
    site.happened("reloaded", 4)


def test_users_are_obeyed_without_a_reload(site: Site) -> None:
    users = site.config.with_name("users")
    text = users.read_text()
    assert site.device(user="alice").ask(AUTO).status == 200
    users.write_text(text.replace("alice:", "carol:"))
    assert site.device(user="alice").ask(AUTO).status == 401
    assert site.device(user="carol").ask(AUTO).status == 200
    site.happened("configured", 3)  # in force at the start, added, removed
    users.write_text("what is this?\n")
    assert site.device(user="carol").ask(AUTO).status == 200
    site.logged("the users it had before stay: line 1: expected NAME:HASH")
    site.daemon.reload(well=False)
    users.write_text(text)
    site.daemon.reload()
    assert site.device(user="carol").ask(AUTO).status == 401
    assert site.device(user="alice").ask(AUTO).status == 200


def test_another_profile(site: Site) -> None:
    edit(site, 'dogtag_profile = "kipukaServerManual"', 'dogtag_profile = "kipukaServer"')
    site.daemon.reload()
    assert site.device().ask(MANUAL).status == 200


def test_another_limit_holds_for_the_connections_that_follow(site: Site) -> None:
    edit(site, "max_connections = 256", "max_connections = 1")
    with socket.create_connection(("127.0.0.1", site.port), 10):
        site.daemon.reload()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            site.device().fetch()

    def has_room() -> bool:
        try:
            return site.device().fetch().status == 200
        except (ConnectionError, ssl.SSLError):  # the daemon has not seen yet that the other has gone
            return False

    until(has_room, 10, "no place was free again")


def test_what_needs_a_restart_is_named_and_the_rest_is_done(site: Site) -> None:
    before = site.port
    edit(site, f'listen = "127.0.0.1:{before}"', 'listen = "127.0.0.1:1"')
    with site.config.open("a") as config:
        config.write(LABEL + '[audit]\nfile = "audit.json"\n')
    site.daemon.reload()
    for setting in ("server.listen", "audit.file"):
        site.logged(f"{setting} has changed: that takes effect when kipuka is restarted")
    assert site.device().ask("extra/simpleenroll").status == 200
    assert not site.config.with_name("audit.json").exists()


def test_two_signals_at_once_and_one_while_it_ends(site: Site) -> None:
    for _ in range(10):
        site.daemon.signal(signal.SIGHUP)
    assert site.device().ask(AUTO).status == 200
    site.daemon.signal(signal.SIGHUP)
    site.daemon.signal(signal.SIGTERM)
    site.daemon.signal(signal.SIGHUP)
    assert site.daemon.wait() in {0, -signal.SIGTERM}
