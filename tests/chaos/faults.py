"""Kills kipuka and Dogtag with -9 when their time has come, and starts them again."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tests.chaos.journal import Journal, Progress
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import Kill, Victim
from tests.dogtag import lab_control
from tests.support.daemon import Daemon


class Faults:
    """Two threads, so that kipuka is killed while Dogtag is down, too.

    :param doors: the proxies in front of the CAs, by the CA's victim. Each refuses connections while its CA is down:
        a pool draws conclusions from that.
    :param quiet: see :class:`tests.chaos.approver.Approver`.
    """

    def __init__(
        self,
        kills: Sequence[Kill],
        daemon: Daemon,
        doors: Mapping[Victim, Proxy],
        quiet: threading.Lock,
        progress: Progress,
        journal: Journal,
    ) -> None:
        self._daemon = daemon
        self._doors = doors
        self._quiet = quiet
        self._progress = progress
        self._journal = journal
        self.done: Counter[Victim] = Counter()
        mine = [each for each in kills if each.victim is Victim.KIPUKA]
        theirs = [each for each in kills if each.victim is not Victim.KIPUKA]
        self._threads = [
            threading.Thread(target=self._run, args=(part, kill), name=f"kill-{name}", daemon=True)
            for name, part, kill in (("kipuka", mine, self._kill_kipuka), ("dogtag", theirs, self._kill_dogtag))
        ]

    def start(self) -> None:
        """Begin to wait for the first moments."""
        for each in self._threads:
            each.start()

    def join(self) -> None:
        """Return when the last victim is up again. The run must be over."""
        for each in self._threads:
            each.join()

    def _run(self, kills: Sequence[Kill], kill: Callable[[Kill], None]) -> None:
        try:
            for each in kills:
                if not self._progress.wait_for(each.after) or not self._progress.pause(each.delay):
                    return
                kill(each)
        except (AssertionError, OSError, subprocess.SubprocessError) as failure:
            self._progress.stop(f"a killed process did not come back: {failure}")

    def _kill_kipuka(self, plan: Kill) -> None:
        self._end_kipuka()
        time.sleep(plan.down)
        self._daemon.spawn()
        if plan.again is not None:
            time.sleep(plan.again)
            self._end_kipuka()
            self._daemon.spawn()
        self._daemon.wait_until_ready()
        self._journal.note("kipuka", "serves again", loud=True)

    def _end_kipuka(self) -> None:
        code = self._daemon.process.poll()
        if code is not None:
            raise AssertionError(f"kipuka had ended by itself with code {code}:\n{self._daemon.log_tail()}")
        self._daemon.process.kill()
        self._daemon.process.wait()
        self.done[Victim.KIPUKA] += 1
        self._journal.note("kipuka", f"killed ({self._progress.ended} operations have ended)", loud=True)

    def _kill_dogtag(self, plan: Kill) -> None:
        victims = [plan.victim] if plan.also is None else [plan.victim, plan.also]
        doors = [self._doors[each] for each in victims if each in self._doors]
        name = " and ".join(each.value for each in victims)
        with self._quiet:
            for each in victims:
                lab_control.kill(each.value)
                self.done[each] += 1
        for door in doors:
            door.shut()
        self._journal.note(name, f"killed ({self._progress.ended} operations have ended)", loud=True)
        time.sleep(plan.down)
        for door in doors:
            door.open()
        lab_control.start()
        self._journal.note(name, "serves again", loud=True)
