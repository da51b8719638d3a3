"""The chaos run as CI makes it: smaller than ``make chaos``, with a seed of its own each time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.chaos import report, schedule
from tests.chaos.run import Options, chaos
from tests.chaos.schedule import Victim

COUNT = int(os.environ.get("CHAOS_COUNT", "200"))
SEED = int(os.environ.get("CHAOS_SEED", str(int(time.time()) % 1_000_000)))


def test_exactly_one_certificate_for_each_request(tmp_path: Path) -> None:
    plan = schedule.make(SEED, COUNT)
    run = chaos(plan, Options(tmp_path))
    text = report.table(run)
    print(text)
    assert run.verdict.good, f"repeat with: make chaos COUNT={COUNT} SEED={SEED}\n{text}"
    # A run in which nothing went wrong proves nothing.
    assert all(run.kills[each] for each in Victim), f"not everything was killed: {run.kills}"
    assert all(each.cuts for each in run.proxies.values()), "a proxy has cut nothing"
    assert run.decisions["approve"] > 0
