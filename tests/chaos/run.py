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
from tests.chaos.dogtag import Dogtag, RefusedError, agreed, lab
from tests.chaos.journal import Journal, Progress
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import CA_LINK, CLIENT_LINK, Link, Plan, Schedule, Treatment, Victim
from tests.chaos.verify import judge
from tests.dogtag import lab_control
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
    pool: str | None = None
    """The strategy of a pool of the lab's CA and its clone; None: the CA alone."""


class StoppedError(Exception):
    """The run could not be brought to its end, so it says nothing."""


def chaos(schedule: Schedule, options: Options) -> report.Run:
    """Run the schedule and ask the CA.

    :raises StoppedError: a killed process did not come back, or the CA cannot be asked.
    """
    journal, progress, quiet = Journal(), Progress(schedule.operations), threading.Lock()
    # Another name in each run: the CA remembers the certificates of the run before with the same seed.
    name = f"c{schedule.seed}-{int(time.time()):x}"
    lab_control.start()
    place = lab()
    if options.pool is not None and place.clone_url is None:
        raise StoppedError("the lab has no clone. Bring it up: tests/dogtag/lab/lab up --second (as root).")
    with ExitStack() as stack:
        urls = [place.url, place.clone_url] if options.pool is not None else [place.url]
        cas = [stack.enter_context(closing(Dogtag(place, url))) for url in urls]
        agent = stack.enter_context(closing(Dogtag(place)))
        stack.callback(lambda: journal.write(options.folder / "journal"))

        def treat(name: str, link: Link, index: int) -> Treatment:
            # The last clients meet calm: what is asked is whether every request ends well, not how long a link may
            # be so bad that nothing can be decided over it.
            calm = not options.cuts or progress.operations - progress.ended <= options.clients
            return Treatment() if calm else schedule.treatment(name, link, index)

        links = ["to-ca", "to-clone"][: len(cas)]
        to_cas = [
            stack.enter_context(Proxy(ca.address, partial(treat, link, CA_LINK)))
            for link, ca in zip(links, cas, strict=True)
        ]
        clone_port = to_cas[1].port if options.pool is not None else None
        strategy = options.pool or ""
        where = site.make(
            options.folder, place, to_cas[0].port, ledger=options.ledger, clone_port=clone_port, strategy=strategy
        )
        to_kipuka = stack.enter_context(Proxy(("127.0.0.1", where.port), partial(treat, "to-kipuka", CLIENT_LINK)))
        daemon = stack.enter_context(Daemon(where.config, start_timeout=_START))
        approver = Approver(agent, name, {each.number: each for each in schedule.plans}, quiet, progress, journal)
        doors = dict(zip((Victim.CA, Victim.CA2), to_cas, strict=True)) if options.pool is not None else {}
        killer = faults.Faults(schedule.kills, daemon, doors, quiet, progress, journal)
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
            agreed(cas, lambda ca: set(ca.pending()))
            approver.drain()
            certificates = agreed(cas, lambda ca: set(ca.certificates(f"{name}-")))
        except (RuntimeError, OSError, HTTPException, RefusedError) as failure:
            raise StoppedError(f"the CA cannot be asked what it has issued: {failure}") from failure
        return report.Run(
            schedule=schedule,
            results=results,
            verdict=judge(results, list(certificates)),
            kills=killer.done,
            proxies={"to kipuka": to_kipuka, **dict(zip(("to the CA", "to its clone"), to_cas, strict=False))},
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
