"""Devices whose requests an agent of the real Dogtag decides: by the lab's profile, and by one that Dogtag ships."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.site import POLL_INTERVAL
from tests.dogtag.daemon.changing_site import ChangingSite, running
from tests.dogtag.lab_export import Lab
from tests.process.ledger.site import until
from tests.support import pki
from tests.support.est_device import Device

PROFILES = ("kipukaServerManual", "caServerCert")
SLACK = 5.0
"""Seconds that a busy machine may take longer."""


@pytest.fixture(params=PROFILES)
def site(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Iterator[ChangingSite]:
    with running(lab, tmp_path) as site:
        site.reload(site.without_label("manual") + site.label("manual", request.param))
        yield site


def device(site: ChangingSite) -> Device:
    return site.device(pki.rsa_key())  # caServerCert takes no other


def put_off(site: ChangingSite, number: int) -> None:
    """Wait until the CA has put off so many requests."""
    until(lambda: site.said('"event": "enrollment deferred"') >= number, 60, f"{number} requests do not wait")


def test_an_approval_is_answered_at_once_and_a_killed_kipuka_has_forgotten_nothing(site: ChangingSite) -> None:
    waiting, gone = device(site), device(site)
    answer = waiting.asking("manual/simpleenroll")
    put_off(site, 1)
    gone.hang_up("manual/simpleenroll", when=lambda: put_off(site, 2))
    approved = site.decide("approve")
    took = answer.result(timeout=60).at - approved
    print(f"{took:.2f} s from the approval to the answer, at a poll_interval of {POLL_INTERVAL} s")
    assert took < POLL_INTERVAL + SLACK
    site.daemon.signal(signal.SIGKILL)
    site.daemon.wait()
    site.daemon.spawn()
    site.daemon.wait_until_ready()
    collected = gone.ask("manual/simpleenroll").certificate
    made = site.made()
    assert waiting.certificates(made) == [answer.result().certificate]
    assert gone.certificates(made) == [collected]


@pytest.mark.parametrize(("decision", "status"), [("reject", "rejected"), ("cancel", "canceled")])
def test_a_no_is_told_once_with_the_agents_reason(site: ChangingSite, decision: str, status: str) -> None:
    asking = device(site)
    answer = asking.asking("manual/simpleenroll")
    put_off(site, 1)
    site.decide(decision, "Ask room 12 for an inventory number")
    refused = answer.result(timeout=60)
    assert refused.status == 403
    assert f"{status}: Ask room 12 for an inventory number" in refused.body.decode()
    again = asking.asking("manual/simpleenroll")  # a new request, which an agent decides anew
    put_off(site, 2)
    site.decide("approve")
    assert asking.certificates(site.made()) == [again.result(timeout=60).certificate]
