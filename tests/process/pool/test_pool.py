"""Two CAs, of which one goes away in every way there is: no client notices, and nobody gets two certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process.ledger.site import AUTO, CA_TIMEOUT, MANUAL, RETRY_AFTER, until
from tests.process.ledger.test_lost_answers import ask_until_done
from tests.process.pool.site import running
from tests.support.dogtag.server import SUBMIT


def test_kill_9_of_the_primary_under_load_is_seen_by_no_client(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        with site.load() as load:
            load.served(20)
            assert site.sent_to(site.secondary) == 0
            site.primary.fault("hang", SUBMIT, times=2)  # made, and never told: these are found at the clone
            site.primary.fault("begin", SUBMIT)  # written down, and never finished
            load.served(5)
            site.primary.kill()
            site.became("primary", "open")
            load.served(20)
            made = site.sent_to(site.primary)
            load.served(20)
            assert site.sent_to(site.primary) == made
            site.primary.start()
            site.became("primary", "closed", 2)
            load.served(20)
            assert site.sent_to(site.primary) > made
        assert load.failures == []
        assert load.told_to_wait == 0
        assert load.has_one_each(site.alive().issued())


def test_a_primary_that_stalls_holds_only_what_it_has(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        with site.load(clients=12) as load:
            load.served(20)
            site.primary.suspend()
            site.became("primary", "open")
            load.served(40)
            site.primary.resume()
            site.became("primary", "closed", 2)
            load.served(20)
        assert load.failures == []
        assert load.has_one_each(site.alive().issued())


def test_a_primary_without_its_directory(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        with site.load() as load:
            load.served(20)
            site.primary.ldap(down=True)
            site.became("primary", "open")
            load.served(30)
            site.primary.ldap(down=False)
            site.became("primary", "closed", 2)
            load.served(20)
        assert load.failures == []
        assert load.told_to_wait == 0  # what it refuses for want of a directory was certainly not done
        assert load.has_one_each(site.alive().issued())


def test_with_both_away_clients_are_told_at_once_and_it_recovers_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        assert device.fetch("auto/cacerts").status == 200
        site.primary.kill()
        site.secondary.kill()
        site.became("primary", "open")
        site.became("secondary", "open")
        answer = device.ask(AUTO)
        assert (answer.status, answer.retry_after) == (503, RETRY_AFTER)
        assert answer.seconds < CA_TIMEOUT  # nothing was waited for
        assert device.fetch("auto/cacerts").status == 200
        site.secondary.start()
        assert ask_until_done(device, AUTO, 20).status == 200
        assert site.sent_to(site.secondary) == 1


def test_a_request_that_waits_at_a_dead_primary_is_collected_at_its_clone(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        waiting = device.asking(MANUAL)
        (number,) = site.primary.wait_for("pending", 1)
        site.happened("deferred")
        site.primary.kill()
        site.secondary.approve([number])
        assert waiting.result(30).status == 200
        assert len(device.certificates(site.secondary.issued())) == 1


@pytest.mark.parametrize(
    ("balancing", "difference"),
    [("round-robin", 0.1), ("least-connections", 0.5)],  # the latter gives more to the one that happens to be faster
)
def test_active_active_spreads_evenly(tmp_path: Path, balancing: str, difference: float) -> None:
    ha = 'strategy = "active-active"'
    with running(tmp_path, ha) as site:
        config = site.config.read_text().replace("[[ha.group]]", f'[[ha.group]]\nload_balancing = "{balancing}"')
        site.config.write_text(config)
        site.daemon.stop()
        site.start()
        with site.load() as load:
            load.served(60)
        shares = [site.sent_to(each) for each in (site.primary, site.secondary)]
        assert sum(shares) == len(load.done)
        assert abs(shares[0] - shares[1]) <= difference * sum(shares)
        assert load.failures == []
        assert load.has_one_each(site.alive().issued())


def test_what_a_stalled_primary_has_made_is_found_at_its_clone(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        site.primary.fault("hang", SUBMIT)
        device = site.device()
        waiting = device.asking(AUTO)
        site.primary.wait_for("complete", 1)
        site.primary.suspend()
        site.became("primary", "open")
        assert ask_until_done(device, AUTO, 40).status == 200
        assert waiting.result(60).status == 200
        assert len(device.certificates(site.secondary.issued())) == 1


def test_what_a_stalled_primary_may_still_make_waits_for_it(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        site.primary.fault("ignore", SUBMIT)
        device = site.device()
        waiting = device.asking(AUTO)
        until(lambda: site.primary.calls()[SUBMIT] == 1, 10, "kipuka did not submit")
        site.primary.suspend()
        site.became("primary", "open")
        site.logged("enrollment 1 cannot be looked up: undecided", 3)
        assert device.certificates(site.secondary.issued()) == []
        site.primary.resume()
        assert waiting.result(60).status == 200
        assert len(device.certificates(site.secondary.issued())) == 1
