"""The chaos runs as CI makes them: smaller than ``make chaos``, with a seed of their own each time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.chaos import report, schedule
from tests.chaos.run import Options, chaos
from tests.chaos.schedule import Victim

COUNT = int(os.environ.get("CHAOS_COUNT", "200"))
POOL_COUNT = int(os.environ.get("CHAOS_POOL_COUNT", "60"))
SEED = int(os.environ.get("CHAOS_SEED", str(int(time.time()) % 1_000_000)))


def test_exactly_one_certificate_for_each_request(tmp_path: Path) -> None:
    run = passed(schedule.make(SEED, COUNT), Options(tmp_path), f"make chaos COUNT={COUNT} SEED={SEED}")
    assert all(run.kills[each] for each in (Victim.KIPUKA, Victim.CA, Victim.DS)), f"some were not killed: {run.kills}"


def test_exactly_one_certificate_over_a_pool(tmp_path: Path) -> None:
    plan = schedule.make(SEED, POOL_COUNT, pool=True)
    options = Options(tmp_path, limit=900, pool="active-active")
    run = passed(plan, options, f"make chaos CHAOS=--pool COUNT={POOL_COUNT} SEED={SEED}")
    # The kills of CAs come one after the other, and a pool may have finished before the last of them.
    dogtags = sum(number for each, number in run.kills.items() if each is not Victim.KIPUKA)
    assert run.kills[Victim.KIPUKA] and dogtags, f"too little was killed: {run.kills}"


def passed(plan: schedule.Schedule, options: Options, again: str) -> report.Run:
    """Run it and demand a good end."""
    run = chaos(plan, options)
    text = report.table(run)
    print(text)
    assert run.good, f"repeat with: {again}\n{text}"
    # A run in which nothing went wrong proves nothing.
    to_cas = sum(proxy.cuts for name, proxy in run.proxies.items() if name != "to kipuka")
    assert run.proxies["to kipuka"].cuts and to_cas, "a proxy has cut nothing"
    assert run.decisions["approve"] > 0
    return run
