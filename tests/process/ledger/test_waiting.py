"""Requests that wait for an agent: the real daemon before the stand-in Dogtag, both killed and restarted at will."""

from __future__ import annotations

import signal
import time
from concurrent.futures import wait
from pathlib import Path

import pytest

from tests.process.ledger.site import MANUAL, POLL_INTERVAL, RETRY_AFTER, running
from tests.support import pki
from tests.support.dogtag.server import CHAIN, FETCH, LIST, LOOK, PROBE, SUBMIT

QUICKLY = 3.0
"""Seconds; for what happens at once, on a machine that has other things to do."""


def test_wait_01_who_waits_is_answered_the_moment_the_poll_sees_the_approval(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        waiting = device.asking(MANUAL)
        site.dogtag.wait_for("pending", 1)
        time.sleep(POLL_INTERVAL * 1.5)  # so that it is not the poll of the first second that finds it
        assert not waiting.done()
        approved = time.monotonic()
        site.dogtag.approve()
        answer = waiting.result(timeout=30)
        assert answer.at - approved < POLL_INTERVAL + QUICKLY
        assert device.certificates(site.dogtag.issued()) == [answer.certificate]


def test_wait_02_03_after_the_approval_time_202_and_the_certificate_when_it_comes_again(tmp_path: Path) -> None:
    with running(tmp_path, approval=1) as site:
        device = site.device()
        for _ in range(2):  # the second is told the same, and nothing is submitted for it
            answer = device.ask(MANUAL)
            assert (answer.status, answer.retry_after) == (202, RETRY_AFTER)
            assert 1 <= answer.seconds < 1 + QUICKLY
        site.dogtag.approve()
        site.happened("granted")  # a client waits no longer than the poll may take to see it
        assert device.certificates(site.dogtag.issued()) == [device.ask(MANUAL).certificate]
        assert site.dogtag.calls()[SUBMIT] == 1


def test_wait_03_a_pending_request_outlives_kill_9(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        waiting = device.asking(MANUAL)
        site.happened("deferred")
        site.kill()
        assert waiting.exception(timeout=30) is not None
        site.dogtag.approve()  # while nobody is there to see it
        site.start()
        answer = device.ask(MANUAL)
        assert device.certificates(site.dogtag.issued()) == [answer.certificate]
        assert site.dogtag.calls()[SUBMIT] == 1


def test_wait_04_another_users_certificate_cannot_be_collected(tmp_path: Path) -> None:
    with running(tmp_path, approval=1) as site:
        key = pki.ec_key()
        alice = site.device("CN=shared", user="alice", key=key)
        bob = site.device("CN=shared", user="bob", key=key)
        assert alice.ask(MANUAL).status == 202
        site.dogtag.approve()
        site.happened("granted")
        stranger = bob.ask(MANUAL)
        assert stranger.status == 202  # a request of its own, which nobody has approved
        assert alice.ask(MANUAL).certificate in site.dogtag.issued()
        assert len(site.dogtag.requests("pending")) == 1


def test_wait_05_a_refusal_is_told_once_with_the_agents_reason(tmp_path: Path) -> None:
    with running(tmp_path, approval=1) as site:
        device = site.device()
        assert device.ask(MANUAL).status == 202
        site.dogtag.reject("no such device in the inventory")
        site.happened("refused")
        answer = device.ask(MANUAL)
        assert answer.status == 403
        assert "retry-after" not in answer.headers
        assert answer.body.startswith(b"The CA refused the request (rejected: no such device in the inventory): ask")
        assert device.ask(MANUAL).status == 202  # a new enrollment, not the old refusal
        assert site.dogtag.calls()[SUBMIT] == 2


def test_wait_05_who_waits_is_told_of_a_refusal(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        waiting = site.device().asking(MANUAL)
        site.happened("deferred")
        site.dogtag.reject("")
        assert waiting.result(timeout=30).status == 403


def test_a_client_that_hangs_up_while_it_waits_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, replay=1) as site:
        device = site.device()
        device.hang_up(MANUAL, when=lambda: site.dogtag.wait_for("pending", 1))
        site.happened("client gone")
        site.dogtag.approve()
        site.happened("granted")
        time.sleep(1.5)  # longer than the replay window, which is for what was written out
        assert device.certificates(site.dogtag.issued()) == [device.ask(MANUAL).certificate]
        assert site.dogtag.calls()[SUBMIT] == 1


def test_whoever_waits_when_the_daemon_is_told_to_stop_is_told_to_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        pending = [site.device().asking(MANUAL) for _ in range(5)]
        site.dogtag.wait_for("pending", 5)
        site.happened("deferred", 5)
        site.dogtag.fault("hang", SUBMIT)
        undecided = site.device().asking(MANUAL)
        site.dogtag.wait_for("pending", 6)
        stopped = time.monotonic()
        site.daemon.signal(signal.SIGTERM)
        done, late = wait([*pending, undecided], timeout=QUICKLY)
        assert not late
        assert {each.result().status for each in pending} == {202}
        assert undecided.result().status == 503
        assert {each.result().retry_after for each in done} == {RETRY_AFTER}
        site.daemon.wait()
        assert time.monotonic() - stopped < 10


@pytest.mark.parametrize("trouble", ["ldap", "killed", "unavailable"])
def test_a_ca_in_trouble_is_not_the_end_of_a_pending_request(tmp_path: Path, trouble: str) -> None:
    with running(tmp_path) as site:
        waiting = site.device().asking(MANUAL)
        site.happened("deferred")
        match trouble:
            case "ldap":
                site.dogtag.ldap(down=True)
                time.sleep(POLL_INTERVAL * 2.5)
                site.dogtag.ldap(down=False)
            case "killed":
                site.dogtag.kill()
                time.sleep(POLL_INTERVAL * 2.5)
                site.dogtag.start()
            case "unavailable":
                site.dogtag.fault("unavailable", LIST, times=2)
                time.sleep(POLL_INTERVAL * 2.5)
        assert not waiting.done()
        site.dogtag.approve()
        assert waiting.result(timeout=30).status == 200


def test_the_calls_to_the_ca_do_not_grow_with_those_who_wait(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        number, rounds = 40, 4
        waiting = [site.device().asking(MANUAL) for _ in range(number)]
        site.happened("deferred", number, 30)
        before, began = site.dogtag.calls(), time.monotonic()
        time.sleep(POLL_INTERVAL * rounds)
        calls = site.dogtag.calls() - before
        passed = time.monotonic() - began
        assert set(calls) - {PROBE, CHAIN} == {LIST}  # whether the CA works is asked at any time
        assert 1 <= calls[LIST] <= passed // POLL_INTERVAL + 1
        before = site.dogtag.calls()
        site.dogtag.approve()
        certificates = {each.result(timeout=30).certificate for each in waiting}
        assert certificates == set(site.dogtag.issued())
        calls = site.dogtag.calls() - before
        assert {SUBMIT: 0, LOOK: number, FETCH: number} == {each: calls[each] for each in (SUBMIT, LOOK, FETCH)}
