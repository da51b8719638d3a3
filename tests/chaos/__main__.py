"""``python -m tests.chaos --count 500 --seed 7``: exit code 0 only when nothing was lost, doubled or unforeseen."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import report, schedule
from tests.chaos.run import Options, StoppedError, chaos
from tests.support.daemon import DaemonError


def main() -> int:
    """Run as the arguments say and print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Enroll through kipuka at the lab's Dogtag while both are killed and connections are cut.",
    )
    parser.add_argument("--count", type=_positive, default=500, help="enrollments (%(default)s)")
    parser.add_argument("--seed", type=int, help="repeats the schedule of an earlier run")
    parser.add_argument("--clients", type=_positive, default=16, help="at a time (%(default)s)")
    parser.add_argument("--limit", type=float, default=1800, help="seconds until a client gives up (%(default)s)")
    for victim in (schedule.Victim.KIPUKA, schedule.Victim.CA, schedule.Victim.DS):
        parser.add_argument(f"--{victim.value}-kills", type=int, metavar="N", help="instead of what COUNT suggests")
    parser.add_argument(
        "--pool",
        nargs="?",
        const="active-active",
        choices=["active-active", "active-passive"],
        help="a pool of the CA and its clone (lab up --second), both killed as often (%(const)s)",
    )
    parser.add_argument("--no-cuts", action="store_true", help="let all connections pass")
    parser.add_argument("--no-ledger", action="store_true", help="for a kipuka from before the ledger")
    parser.add_argument("--folder", type=Path, help="keep configuration, store, logs and journal here")
    given = parser.parse_args()

    seed = int(time.time()) % 1_000_000 if given.seed is None else given.seed
    kills = {"kipuka": given.kipuka_kills, "ca": given.ca_kills, "ds": given.ds_kills}
    plan = schedule.make(seed, given.count, **kills, pool=given.pool is not None)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kipuka-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(
        folder.resolve(),
        given.clients,
        given.limit,
        ledger=not given.no_ledger,
        cuts=not given.no_cuts,
        pool=given.pool,
    )
    print(f"seed {seed}: repeat this schedule with --count {given.count} --seed {seed}", flush=True)
    try:
        run = chaos(plan, options)
    except (StoppedError, DaemonError) as stopped:
        print(f"STOPPED, no verdict: {stopped}\nLogs and journal are in {folder}.")
        return 2
    print(report.table(run))
    if given.folder is None and run.good:
        shutil.rmtree(folder)
    else:
        print(f"Configuration, store, logs and journal are in {folder}.")
    return 0 if run.good else 1


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
