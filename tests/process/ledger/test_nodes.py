"""Several nodes: two real daemons on a real PostgreSQL, one of them stopped, killed or cut off from the other."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.ledger.nodes import DEAD, LEASE, Node, nodes
from tests.process.ledger.site import AUTO, MANUAL, POLL_INTERVAL, RETRY_AFTER
from tests.support import postgres
from tests.support.dogtag.server import LIST, SUBMIT
from tests.support.est_device import Answer, Device

TURNS = 10
SLACK = 5
"""Seconds more than promised, on a machine that has other things to do."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    postgres.needed()
    with postgres.Cluster() as running:
        yield running


def ask_until_done(node: Node, device: Device, path: str, limit: float) -> Answer:
    """Ask until there is a certificate or a refusal."""
    deadline = time.monotonic() + limit
    while (answer := node.at(device).ask(path)).status in {202, 503}:
        assert time.monotonic() < deadline, f"still {answer.status} after {limit:.0f} s"
        time.sleep(0.2)
    return answer


def test_one_polls_and_each_answers_those_who_wait_at_it(tmp_path: Path, cluster: postgres.Cluster) -> None:
    with nodes(tmp_path, cluster) as pair:
        devices = [(node, pair.site.device()) for node in pair.both * 2]
        waiting = [node.at(device).asking(MANUAL) for node, device in devices]
        pair.dogtag.wait_for("pending", len(devices))
        before, began = pair.dogtag.calls()[LIST], time.monotonic()
        time.sleep(5 * POLL_INTERVAL)
        listed = pair.dogtag.calls()[LIST] - before
        assert 1 <= listed <= (time.monotonic() - began) // POLL_INTERVAL + 1  # about twice that if both polled
        approved = time.monotonic()
        pair.dogtag.approve()
        for (_, device), each in zip(devices, waiting, strict=True):
            answer = each.result(timeout=30)
            assert device.certificates(pair.dogtag.issued()) == [answer.certificate]
            assert answer.at - approved < 2 * POLL_INTERVAL + SLACK
        poller, other = pair.which("granted")
        assert (poller.did("granted"), other.did("deferred")) == (4, 2)


def test_wait_03_a_client_may_come_back_to_the_other_node(tmp_path: Path, cluster: postgres.Cluster) -> None:
    with nodes(tmp_path, cluster, approval=1) as pair:
        first, second = pair.both
        device = pair.site.device()
        assert first.at(device).ask(MANUAL).status == 202
        assert second.at(device).ask(MANUAL).status == 202
        pair.dogtag.approve()
        answer = ask_until_done(second, device, MANUAL, 10)
        assert first.at(device).ask(MANUAL).certificate == answer.certificate
        assert device.certificates(pair.dogtag.issued()) == [answer.certificate]
        assert pair.dogtag.calls()[SUBMIT] == 1


def test_the_same_request_at_both_at_the_same_instant_is_submitted_once(
    tmp_path: Path, cluster: postgres.Cluster
) -> None:
    with nodes(tmp_path, cluster) as pair, ThreadPoolExecutor(4) as pool:
        for number in range(1, TURNS + 1):
            device, start = pair.site.device(), threading.Barrier(4)

            def ask(node: Node, device: Device = device, start: threading.Barrier = start) -> Answer:
                start.wait(30)
                return node.at(device).ask(AUTO)

            answers = list(pool.map(ask, pair.both * 2))
            assert device.certificates(pair.dogtag.issued()) == [answers[0].certificate]
            assert {answer.certificate for answer in answers} == {answers[0].certificate}
            assert pair.dogtag.calls()[SUBMIT] == number
        assert all(node.did("taken") for node in pair.both)  # or it was no race
        assert pair.audited() >= 2 * TURNS


def test_when_the_poller_is_killed_the_other_takes_over(tmp_path: Path, cluster: postgres.Cluster) -> None:
    with nodes(tmp_path, cluster) as pair:
        known = pair.both[0].at(pair.site.device()).asking(MANUAL)
        pair.dogtag.wait_for("pending", 1)
        pair.dogtag.approve()
        assert known.result(timeout=30).status == 200
        poller, other = pair.which("granted")
        waiting = other.at(pair.site.device()).asking(MANUAL)
        pair.dogtag.wait_for("pending", 1)
        poller.kill()
        killed = time.monotonic()
        pair.dogtag.approve()
        answer = waiting.result(timeout=30)
        assert answer.status == 200
        assert answer.at - killed < LEASE + POLL_INTERVAL + SLACK
        poller.restart()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_dead_or_suspended_node_has_submitted_is_found_by_the_other(
    tmp_path: Path, cluster: postgres.Cluster, number: int
) -> None:
    with nodes(tmp_path, cluster) as pair:
        first, second = pair.both
        device = pair.site.device()
        pair.dogtag.fault("hang", SUBMIT)
        first.at(device).asking(AUTO)
        pair.dogtag.wait_for("complete", 1)
        first.daemon.signal(number)
        if number == signal.SIGKILL:
            first.daemon.wait()
        answer = ask_until_done(second, device, AUTO, DEAD + LEASE + 10)
        if number == signal.SIGKILL:
            first.restart()
        else:
            first.daemon.signal(signal.SIGCONT)
        assert first.at(device).ask(AUTO).certificate == answer.certificate
        assert device.certificates(pair.dogtag.issued()) == [answer.certificate]
        assert pair.dogtag.calls()[SUBMIT] == 1


def test_while_the_database_is_away_nothing_is_submitted_and_afterwards_all_goes_on(
    tmp_path: Path, cluster: postgres.Cluster
) -> None:
    with nodes(tmp_path, cluster) as pair:
        early = pair.site.device()
        waiting = pair.both[0].at(early).asking(MANUAL)
        pair.dogtag.wait_for("pending", 1)
        late = [pair.site.device() for _ in range(6)]
        cluster.crash()
        try:
            submitted = pair.dogtag.calls()[SUBMIT]
            asked = [node.at(device).asking(AUTO) for device in late for node in pair.both]
            answers = [each.result(timeout=30) for each in asked]
            assert {(answer.status, answer.retry_after) for answer in answers} == {(503, RETRY_AFTER)}
            assert pair.dogtag.calls()[SUBMIT] == submitted
            pair.dogtag.approve()
        finally:
            cluster.start()
        for number, device in enumerate(late):
            assert device.certificates([pair.both[number % 2].at(device).ask(AUTO).certificate])
        assert early.certificates(pair.dogtag.issued()) == [waiting.result(timeout=60).certificate]


def test_a_node_can_be_stopped_while_the_database_is_away(tmp_path: Path, cluster: postgres.Cluster) -> None:
    with nodes(tmp_path, cluster) as pair:
        node, _ = pair.both
        device = pair.site.device()
        pair.dogtag.fault("hang", SUBMIT)
        node.at(device).asking(AUTO)  # its answer is lost, and that cannot be written down
        pair.dogtag.wait_for("complete", 1)
        cluster.crash()
        try:
            node.daemon.signal(signal.SIGTERM)
            assert node.daemon.wait(timeout=30) in {0, -signal.SIGTERM}
        finally:
            cluster.start()
        node.restart()
        answer = ask_until_done(node, device, AUTO, DEAD + LEASE + 10)
        assert device.certificates(pair.dogtag.issued()) == [answer.certificate]
