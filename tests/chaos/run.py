"""One run from beginning to end."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPException
from pathlib import Path

from tests.chaos import faults, report, site
from tests.chaos.approver import Approver
from tests.chaos.clients import Device, Result
from tests.chaos.dogtag import Dogtag, RefusedError, lab
from tests.chaos.journal import Journal, Progress
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import CA_LINK, CLIENT_LINK, Link, Plan, Schedule, Treatment
from tests.chaos.verify import judge
from tests.support.daemon import Daemon

_PROGRESS_INTERVAL = 20
# Seconds. A machine that does other things as well takes long to start kipuka; that is not what is tested.
_START = 180
# A submission that nobody should have made shows within a poll or two.
_SETTLE = 5 * site.POLL_INTERVAL


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run a schedule. Times are seconds."""

    folder: Path
    """Where configuration, store, logs and journal go; must exist and be empty."""
    clients: int = 16
    """Threads."""
    limit: float = 1800
    """After which a client gives up a request."""
    ledger: bool = True
    cuts: bool = True
    """Whether the proxies do anything but pass."""


class StoppedError(Exception):
    """The run could not be brought to its end, so it says nothing."""


def chaos(schedule: Schedule, options: Options) -> report.Run:
    """Run the schedule and ask the CA.

    :raises StoppedError: a killed process did not come back, or the CA cannot be asked.
    """
    journal, progress, quiet = Journal(), Progress(schedule.operations), threading.Lock()
    # Another name in each run: the CA remembers the certificates of the run before with the same seed.
    name = f"c{schedule.seed}-{int(time.time()):x}"
    faults.start_dogtag()
    place = lab()
    with ExitStack() as stack:
        dogtag, agent = (stack.enter_context(closing(Dogtag(place))) for _ in range(2))
        stack.callback(lambda: journal.write(options.folder / "journal"))

        def treat(name: str, link: Link, index: int) -> Treatment:
            # The last clients meet calm: what is asked is whether every request ends well, not how long a link may
            # be so bad that nothing can be decided over it.
            calm = not options.cuts or progress.operations - progress.ended <= options.clients
            return Treatment() if calm else schedule.treatment(name, link, index)

        to_ca = stack.enter_context(Proxy(dogtag.address, partial(treat, "to-ca", CA_LINK)))
        where = site.make(options.folder, place, to_ca.port, ledger=options.ledger)
        to_kipuka = stack.enter_context(Proxy(("127.0.0.1", where.port), partial(treat, "to-kipuka", CLIENT_LINK)))
        daemon = stack.enter_context(Daemon(where.config, start_timeout=_START))
        approver = Approver(agent, name, {each.number: each for each in schedule.plans}, quiet, progress, journal)
        killer = faults.Faults(schedule.kills, daemon, quiet, progress, journal)
        threading.Thread(target=_tell, args=(progress, journal), daemon=True).start()

        def device(plan: Plan) -> list[Result]:
            return _device(Device(plan, schedule, where, name, to_kipuka.port, options.limit, journal), plan, progress)

        journal.note("run", f"{name}: {schedule.operations} operations, journal in {options.folder}", loud=True)
        approver.start()
        killer.start()
        try:
            results = _all(device, schedule.plans, options.clients, progress)
            seconds = journal.now
        finally:
            progress.stop()
            killer.join()  # what it has killed is up again then
        if progress.trouble is not None:
            raise StoppedError(progress.trouble)
        if not daemon.running:
            raise StoppedError(f"kipuka has ended by itself:\n{daemon.log_tail()}")
        time.sleep(_SETTLE)
        try:
            approver.drain()
            certificates = dogtag.certificates(f"{name}-")
        except (RuntimeError, OSError, HTTPException, RefusedError) as failure:
            raise StoppedError(f"the CA cannot be asked what it has issued: {failure}") from failure
        return report.Run(
            schedule=schedule,
            results=results,
            verdict=judge(results, certificates),
            kills=killer.done,
            proxies={"to kipuka": to_kipuka, "to the CA": to_ca},
            decisions=approver.decisions,
            seconds=seconds,
            tracebacks=daemon.log_text().count("Traceback (most recent call last)"),
        )


def _all(
    device: Callable[[Plan], list[Result]], plans: Sequence[Plan], threads: int, progress: Progress
) -> list[Result]:
    with ThreadPoolExecutor(threads, thread_name_prefix="client") as pool:
        try:
            return [result for part in pool.map(device, plans) for result in part]
        except BaseException:
            progress.stop("interrupted")  # or the pool would wait for clients that wait for an answer
            raise


def _device(device: Device, plan: Plan, progress: Progress) -> list[Result]:
    """Run one client and count its operations, also those it never came to."""
    results: list[Result] = []
    try:
        for result in device.run(progress):
            results.append(result)
            progress.end_operations(1)
    except BaseException as failure:
        progress.stop(f"device-{plan.number} failed: {failure!r}")
        raise
    progress.end_operations(plan.operations - len(results))
    return results


def _tell(progress: Progress, journal: Journal) -> None:
    while progress.pause(_PROGRESS_INTERVAL):
        journal.note("run", f"{progress.ended} of {progress.operations} operations have ended", loud=True)
