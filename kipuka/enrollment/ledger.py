"""The ledger as the reactor sees it: the store in threads, events instead of updates, and waiters that are told.

A change made by this process is told to its waiters at once. Changes made by other processes are seen by asking the
store once a second what changed, one question however many wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from kipuka.enrollment.states import Event, sources, target
from kipuka.store.rows import Application, Enrollment, State
from kipuka.store.store import Store, StoreUnavailable

T = TypeVar("T")
InThread = Callable[[Callable[[], Any]], Deferred[Any]]

WATCH = 1.0
"""Seconds between two looks at what other processes changed."""
_OVERLAP = timedelta(seconds=10)
"""Clocks of nodes differ, and a transaction becomes visible after its time: look back so far each time."""
BEAT = 3.0
"""Seconds between two signs of life of a process."""
DEAD = timedelta(seconds=20)
"""A process that gave no sign of life for so long is taken for dead, and what it submitted for unknown."""

_log = Logger("kipuka.ledger")


class Ledger(Service):
    """Enrollments, their events, and who waits for them.

    :param in_thread: runs a blocking function where it may block.
    :param process: a name for this process that no other has or had.
    :param record: told every event: its name, the row after it.
    """

    def __init__(
        self,
        store: Store,
        in_thread: InThread,
        clock: IReactorTime,
        process: str,
        record: Callable[[Event, Enrollment], None],
    ) -> None:
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self.process = process
        self._record = record
        self._waiters: defaultdict[int, list[tuple[State, Deferred[Enrollment]]]] = defaultdict(list)
        self._watch = _loop(self._look, clock)
        self._pulse = _loop(self._beat, clock)

    def startService(self) -> None:
        """Give signs of life and watch."""
        super().startService()
        self._pulse.start(BEAT).addErrback(_broken)
        self._watch.start(WATCH, now=False).addErrback(_broken)

    def stopService(self) -> None:
        """Stop watching; what waits is left to its caller."""
        super().stopService()
        for loop in (self._pulse, self._watch):
            if loop.running:
                loop.stop()

    def now(self) -> datetime:
        """The time, as the rows have it."""
        return datetime.fromtimestamp(self._clock.seconds(), UTC)

    async def join(self, application: Application, replay_window: float) -> Enrollment:
        """The open row of this application, or a new one; it is on disk when this returns.

        :raises StoreUnavailable: then nothing may be sent to a CA.
        """
        now = self.now()
        oldest = now - timedelta(seconds=replay_window)
        return await self.run(lambda: self._store.join(application, now, oldest))

    async def happen(self, event: Event, row: Enrollment, **changes: Any) -> Enrollment | None:
        """Let an event happen to a row.

        :return: the row after it, or None when its state does not take the event any more.
        :raises StoreUnavailable: the event is not written down.
        """
        now = self.now()
        moved = await self.run(lambda: self._store.move(row.id, sources(event), target(event), now, **changes))
        if moved is not None:
            self._record(event, moved)
            self._tell(moved)
        return moved

    async def annotate(self, row: Enrollment, **changes: Any) -> Enrollment | None:  # noqa: ANN401 - columns
        """Change facts about a row that stays in its state; None when it has moved on."""
        now = self.now()
        return await self.run(lambda: self._store.move(row.id, {row.state}, row.state, now, **changes))

    async def changed(self, row: Enrollment, seconds: float) -> Enrollment:
        """Wait until the row is in another state than the one given; after so many seconds return it as it is."""
        waiter: Deferred[Enrollment] = Deferred()
        entry = (row.state, waiter)
        self._waiters[row.id].append(entry)
        alarm = self._clock.callLater(seconds, waiter.callback, row)
        try:
            # Somebody may have changed it between the caller's look at the row and this waiter.
            latest = await self.run(lambda: self._store.get(row.id))
            if latest is not None and latest.state is not row.state:
                return latest
            return await waiter
        finally:
            if alarm.active():
                alarm.cancel()
            self._waiters[row.id].remove(entry)
            if not self._waiters[row.id]:
                del self._waiters[row.id]

    def pause(self, seconds: float) -> Deferred[None]:
        """Let some time pass."""
        return deferLater(self._clock, seconds)

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Do something with the store in a thread."""
        return self._in_thread(work)

    @property
    def store(self) -> Store:
        """The blocking store, for use inside :meth:`run`."""
        return self._store

    async def _look(self) -> None:
        if not self._waiters:
            return
        since = self.now() - _OVERLAP
        for row in await self.run(lambda: self._store.changed(since)):
            self._tell(row)

    async def _beat(self) -> None:
        now = self.now()
        await self.run(lambda: self._store.beat(self.process, now))

    def _tell(self, row: Enrollment) -> None:
        for state, waiter in list(self._waiters.get(row.id, ())):
            if state is not row.state and not waiter.called:
                waiter.callback(row)


def _loop(body: Callable[[], Coroutine[Deferred[Any], Any, None]], clock: IReactorTime) -> LoopingCall:
    """A loop whose body cannot end it."""

    async def guarded() -> None:
        try:
            await body()
        except StoreUnavailable as trouble:
            _log.warn("the ledger cannot be reached: {trouble}", trouble=trouble)
        except Exception:
            _log.failure("a loop of the ledger failed and goes on")

    loop = LoopingCall(lambda: Deferred.fromCoroutine(guarded()))
    loop.clock = clock
    return loop


def _broken(failure: Any) -> None:
    _log.failure("a loop of the ledger ended", failure=failure)
