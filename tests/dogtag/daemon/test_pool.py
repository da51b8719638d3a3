"""A pool of the real CA and its clone under load, while one goes away. Kills them: nothing else may use the lab.

What a client saw is printed for each test (pytest -s). Only 503 with Retry-After may be seen besides certificates, and
where the text says so, not even that.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.dogtag.daemon.pool_site import AUTO, CA_TIMEOUT, freeze, is_clones, running, thaw
from tests.dogtag.lab_control import kill, start
from tests.dogtag.lab_export import Lab

WARM = 30


def test_kill_9_of_the_primary_is_seen_by_no_client_not_even_as_a_503(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        with site.watched("primary") as shown, site.load() as load:
            load.served(WARM, 60)
            assert not any(map(is_clones, load.served_after(0)))
            kill("ca")
            site.became("primary", "open")
            with site.load() as later:  # the others may yet get what the primary made before it died
                later.served(WARM, 120)
            assert all(map(is_clones, later.served_after(0)))
            load.served(WARM, 120)
            site.settled()
            start()
            site.became("primary", "closed", 2)
            closed = time.monotonic()
            load.served(WARM, 60)
            assert not all(map(is_clones, load.served_after(closed + 2)))
        print(f"{load.account()}; /health/ca of the primary: {', '.join(shown)}")
        changes = [each for each in shown if each not in {"unknown", "degraded"}]  # which may last for milliseconds
        assert (changes[:2], changes[-2:]) == (["healthy", "circuit_open"], ["half_open", "healthy"])
        made = site.made()
        for each in (load, later):
            assert (each.failures, each.told_to_wait) == ([], 0)
            assert each.has_one_each(made)


def test_kill_9_of_the_primarys_directory(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        with site.load() as load:
            load.served(WARM, 60)
            kill("ds")
            site.became("primary", "open")
            with site.load() as later:  # all the others may be waiting for what the primary died over
                later.served(WARM, 120)
            assert all(map(is_clones, later.served_after(0)))
            start()
            site.became("primary", "closed", 2)
            with site.load() as afterwards:
                afterwards.served(WARM, 60)
        made = site.made()
        for each in (load, later, afterwards):
            print(each.account())
            assert each.failures == []
            assert each.has_one_each(made)
        assert (later.told_to_wait, afterwards.told_to_wait) == (0, 0)


def test_a_primary_that_stands_still(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        with site.load(16) as load:
            load.served(WARM, 60)
            freeze()
            site.became("primary", "open")
            load.served(WARM, 60)
            thaw()
            site.became("primary", "closed", 2)
            load.served(WARM, 60)
        print(load.account())
        assert load.failures == []
        assert load.has_one_each(site.made())


def test_with_both_away_clients_are_told_at_once_and_it_recovers_by_itself(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        device = site.device()
        assert device.fetch("auto/cacerts").status == 200
        kill("ca", "ca2")
        site.became("primary", "open")
        site.became("secondary", "open")
        answer = device.ask(AUTO)
        assert (answer.status, answer.retry_after) == (503, 1)
        assert answer.seconds < CA_TIMEOUT / 2  # nothing was waited for
        assert device.fetch("auto/cacerts").status == 200
        start()
        with site.load(2) as load:
            load.served(10, 60)
        assert load.failures == []
        assert load.has_one_each(site.made())


def test_active_active_spreads_within_10_percent(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path, "active-active", probe=CA_TIMEOUT) as site:  # nobody is to be taken for dead here
        with site.load() as load:
            load.served(100, 120)
        clones = sum(is_clones(answer.certificate) for _, answer in load.done)
        account = f"{load.account()}; {clones} by the clone; {site.states()}"
        print(account)
        assert abs(2 * clones - len(load.done)) <= 0.1 * len(load.done), account
        assert load.failures == []
        assert load.has_one_each(site.made())
