"""Answers that get lost, between the CA and kipuka or between kipuka and its client: one certificate all the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.ledger.site import AUTO, CA_TIMEOUT, MANUAL, RETRY_AFTER, Site, running
from tests.support import pki
from tests.support.dogtag.server import FETCH, SUBMIT, Fault
from tests.support.est_device import Answer, Device

SETTLE = CA_TIMEOUT * 2
AT_ONCE = 10
"""Seconds, well below those after which a process without a sign of life is taken for dead."""


def ask_until_done(device: Device, path: str, limit: float) -> Answer:
    """Do as a client does that is told to come back, but sooner."""
    deadline = time.monotonic() + limit
    while (answer := device.ask(path)).status in {202, 503}:
        assert answer.retry_after == RETRY_AFTER
        assert time.monotonic() < deadline, f"still {answer.status} after {limit:.0f} s"
        time.sleep(0.2)
    return answer


def has_the_only_certificate(site: Site, device: Device, answer: Answer) -> bool:
    return device.certificates(site.dogtag.issued()) == [answer.certificate]


def all_done(devices: Sequence[Device], path: str, limit: float) -> list[Answer]:
    """Let them ask at the same time."""
    with ThreadPoolExecutor(len(devices)) as pool:
        return list(pool.map(lambda device: ask_until_done(device, path, limit), devices))


@pytest.mark.parametrize("call", [SUBMIT, FETCH])
def test_an_answer_lost_after_issuing_is_found_again(tmp_path: Path, call: str) -> None:
    with running(tmp_path) as site:
        kinds: Sequence[Fault] = ("lose", "cut", "hang")
        for kind in kinds:
            site.dogtag.fault(kind, call, times=2 if call == FETCH else 1)  # a GET is sent once more
        devices = [site.device() for _ in kinds]
        answers = all_done(devices, AUTO, SETTLE * 4)
        assert all(has_the_only_certificate(site, *each) for each in zip(devices, answers, strict=True))
        assert site.dogtag.calls()[SUBMIT] == len(devices)


def test_an_answer_lost_of_a_request_that_waits_is_found_among_the_pending(tmp_path: Path) -> None:
    with running(tmp_path, approval=1) as site:
        site.dogtag.fault("lose", SUBMIT)
        site.dogtag.fault("hang", SUBMIT)
        devices = [site.device() for _ in range(2)]
        assert {device.ask(MANUAL).status for device in devices} <= {202, 503}
        site.happened("deferred", len(devices), SETTLE * 4)
        assert {device.ask(MANUAL).status for device in devices} == {202}
        site.dogtag.approve()
        answers = all_done(devices, MANUAL, 10)
        assert all(has_the_only_certificate(site, *each) for each in zip(devices, answers, strict=True))
        assert site.dogtag.calls()[SUBMIT] == len(devices)


def test_what_the_ca_never_got_or_never_finishes_is_submitted_again_when_that_is_proven(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        site.dogtag.fault("drop", SUBMIT)
        site.dogtag.fault("begin", SUBMIT)
        devices = [site.device() for _ in range(2)]
        started = time.monotonic()
        answers = all_done(devices, AUTO, SETTLE * 8)
        assert all(has_the_only_certificate(site, *each) for each in zip(devices, answers, strict=True))
        assert min(each.at for each in answers) - started >= SETTLE
        assert site.dogtag.calls()[SUBMIT] == 2 * len(devices)


def test_a_ca_that_refuses_connections_is_told_at_once_and_nothing_is_unknown(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        site.dogtag.kill()
        answer = device.ask(AUTO)
        assert (answer.status, answer.retry_after) == (503, RETRY_AFTER)
        assert answer.seconds < 3
        site.dogtag.start()
        assert has_the_only_certificate(site, device, device.ask(AUTO))


def test_kill_9_of_the_ca_with_requests_in_flight(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        number = 6
        site.dogtag.fault("hang", SUBMIT, times=number // 2)
        devices = [site.device() for _ in range(number)]
        waiting = [device.asking(AUTO) for device in devices]
        site.happened("taken", number)
        site.dogtag.kill()
        for each in waiting:
            assert each.exception(timeout=60) is None
        site.dogtag.start()
        answers = all_done(devices, AUTO, SETTLE * 8)
        assert all(has_the_only_certificate(site, *each) for each in zip(devices, answers, strict=True))


def test_kill_9_of_kipuka_between_submission_and_answer(tmp_path: Path) -> None:
    with running(tmp_path, approval=1) as site:
        site.dogtag.fault("hang", SUBMIT, times=2)
        issued, pending = site.device(), site.device()
        waiting = [issued.asking(AUTO), pending.asking(MANUAL)]
        site.dogtag.wait_for("complete", 1)
        site.dogtag.wait_for("pending", 1)
        site.kill()
        assert all(each.exception(timeout=30) is not None for each in waiting)
        site.dogtag.approve()
        site.start()
        assert has_the_only_certificate(site, issued, ask_until_done(issued, AUTO, AT_ONCE))
        assert has_the_only_certificate(site, pending, ask_until_done(pending, MANUAL, AT_ONCE))
        assert site.dogtag.calls()[SUBMIT] == 2


def test_wait_07_what_was_written_out_is_given_again_for_a_while(tmp_path: Path) -> None:
    replay = 3
    with running(tmp_path, replay=replay) as site:
        device = site.device()
        first = device.ask(AUTO)
        assert device.ask(AUTO).certificate == first.certificate
        assert has_the_only_certificate(site, device, first)
        time.sleep(replay)
        assert device.ask(AUTO).certificate != first.certificate
        assert len(site.dogtag.issued()) == 2


def test_a_client_that_is_cut_off_amid_the_answer_gets_it_at_its_next_try(tmp_path: Path) -> None:
    """All of it had been sent, which kipuka cannot tell from its having arrived: that is what the window is for."""
    with running(tmp_path) as site:
        device = site.device()
        assert device.read_only(10, AUTO).startswith(b"HTTP/1.1 2")
        site.happened("written out")
        assert has_the_only_certificate(site, device, device.ask(AUTO))


def test_a_client_that_is_gone_before_the_answer_gets_it_whenever_it_comes_back(tmp_path: Path) -> None:
    with running(tmp_path, replay=1) as site:
        device = site.device()
        site.dogtag.fault("hang", SUBMIT)
        device.hang_up(AUTO, when=lambda: site.dogtag.wait_for("complete", 1))
        site.happened("granted", seconds=SETTLE * 4)
        time.sleep(1.5)  # longer than the replay window, which is for what was written out
        assert has_the_only_certificate(site, device, device.ask(AUTO))


def test_ren_a_renewal_whose_answer_is_lost_does_not_take_the_old_certificate_for_it(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        device = site.device()
        old = device.ask(AUTO).certificate
        holder = site.holder(device, pki.Identity(old, device.key))
        site.dogtag.fault("drop", SUBMIT)
        renewed = ask_until_done(holder, "auto/simplereenroll", SETTLE * 8).certificate
        assert renewed != old
        assert device.certificates(site.dogtag.issued()) == [old, renewed]
        assert holder.ask("auto/simplereenroll").certificate == renewed


def test_wait_04_a_lost_answer_is_not_somebody_elses_certificate_for_the_same_key(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        key = pki.ec_key()
        alice = site.device("CN=shared", user="alice", key=key)
        bob = site.device("CN=shared", user="bob", key=key)
        hers = alice.ask(AUTO).certificate
        site.dogtag.fault("drop", SUBMIT)
        assert ask_until_done(bob, AUTO, SETTLE * 8).certificate != hers
