"""The ledger as the reactor sees it: the store in threads, events instead of updates, and waiters that are told.

A change made by this process is told to its waiters at once. Changes made by other processes are seen by asking the
store once a second what changed, one question however many wait.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from kipuka.enrollment.audit import NOWHERE, Attests, describe
from kipuka.enrollment.ledger.states import PASSING, Event, sources, target
from kipuka.observe.audit.record import Origin, Record
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
KEPT = timedelta(hours=1)
"""At least so long rows and signs of life are kept: what was lost, or is another process's, is told by them."""
CLEAN = 3600.0
"""Seconds between two looks for rows that have been kept long enough."""
STALE = 12.0
"""Seconds after the last written sign of life from which on the store counts as not to be written."""
DEAD = timedelta(seconds=20)
"""A process that gave no sign of life for so long is taken for dead, and what it submitted for unknown."""
QUEUE = 10.0
"""Seconds after which work for the store is given up that has not begun."""

_log = Logger("kipuka.ledger")


@dataclass(frozen=True, eq=False)
class _Doubt:
    """An event of which the store could not say whether it took it.

    :param at: the time that the row has if it did: nobody else's change has it.
    """

    event: Event
    id: int
    at: datetime
    origin: Origin


class Ledger:
    """Enrollments, their events, and who waits for them.

    :param open_store: opens the store.
    :param in_thread: runs a blocking function where it may block.
    :param process: a name for this process that no other has or had.
    :param record: told every event: its name, the row after it.
    :param keep: how long closed rows are kept, and open ones of which nothing is at the CA and nobody asks again.
    :param replay: how long a row that was delivered stays open.
    :param audit: what events are written down with; None leaves them to ``record``.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        in_thread: InThread,
        clock: IReactorTime,
        process: str,
        record: Callable[[Event, Enrollment], None],
        keep: timedelta = timedelta(days=90),
        replay: timedelta = timedelta(minutes=10),
        audit: Attests | None = None,
    ) -> None:
        self._open_store = open_store
        self._in_thread = in_thread
        self._clock = clock
        self.process = process
        self._record = record
        self.keep = keep
        self.replay = replay
        self._audit = audit
        self._waiters: defaultdict[int, list[tuple[Enrollment, Deferred[Enrollment | None]]]] = defaultdict(list)
        self._doubts: list[_Doubt] = []
        self._looked = self.now()
        self._patient = True
        self._beaten: float | None = None
        self.in_hand: Counter[int] = Counter()
        """How many of this process's tasks are submitting a row, by its id."""
        self._loops = [
            (loop(self._beat, clock), BEAT),
            (loop(self._look, clock), WATCH),
            (loop(self._clean, clock), CLEAN),
        ]
        self._ended: list[Deferred[Any]] = []

    def open(self) -> None:
        """Open the store. Not before: a daemon that detaches forks, and connections to a database do not survive that.

        :raises StoreUnavailable: it cannot be opened.
        """
        self._store = self._open_store()
        self._store.arrive()

    def start(self) -> None:
        """Give signs of life and watch, once the store is open."""
        self._ended = [each.start(seconds) for each, seconds in self._loops]

    async def stop(self) -> None:
        """Stop watching, and close the store once what it is being asked is answered."""
        for each, _ in self._loops:
            if each.running:
                each.stop()
        await gatherResults(self._ended)
        await self._in_thread(self._store.close)

    def let_go(self) -> None:
        """End all waiting, now and from now on: the rows are returned as they are."""
        self._patient = False
        for entries in list(self._waiters.values()):
            for row, waiter in list(entries):
                if not waiter.called:
                    waiter.callback(row)

    def now(self) -> datetime:
        """The time, as the rows have it."""
        return datetime.fromtimestamp(self._clock.seconds(), UTC)

    async def join(self, application: Application, replay_window: float) -> Enrollment:
        """The open row of this application, or a new one.

        :param replay_window: a row that was delivered so many seconds ago is over.
        :raises StoreUnavailable: then nothing may be sent to a CA.
        """
        while True:
            await self._resolve()
            now = self.now()
            row = await self.run(partial(self._store.join, application, now))
            if not _is_spent(row, now - timedelta(seconds=replay_window)):
                return row
            await self.happen(Event.OUTDATED, row)

    async def find(self, application: Application, replay_window: float) -> Enrollment | None:
        """The open row of this application, if there is one that :meth:`join` would return."""
        row = await self.run(lambda: self._store.find(application.key))
        return None if row is None or _is_spent(row, self.now() - timedelta(seconds=replay_window)) else row

    async def happen(
        self, event: Event, row: Enrollment, origin: Origin = NOWHERE, **changes: Any
    ) -> Enrollment | None:
        """Let an event happen to a row. The audit's record of it is part of the same transaction.

        When this returns it is on disk, with the row and all that happened to it before, unless it is one of
        :data:`~kipuka.enrollment.ledger.states.PASSING`.

        :param row: as it was when the event came about: an event of one submission is none of a later one.
        :param origin: of the request that brought it about.
        :return: the row after it, or None when its state does not take the event any more.
        :raises StoreUnavailable: the event is not written down, or that is in doubt: if it was, it is told later.
        """
        tried: datetime | None = None

        def move() -> Enrollment | None:
            # The time is taken when it is this change's turn, or others would not find it among the latest.
            nonlocal tried
            tried = self.now()
            states, lasts = (sources(event), target(event)), event not in PASSING
            return self._store.move(row.id, *states, tried, row, recorded, durable=lasts, **changes)

        recorded = self._recorded(event, origin)
        await self._resolve(row.id)
        try:
            moved = await self.run(move)
        except StoreUnavailable:
            if tried is not None:
                self._doubts.append(_Doubt(event, row.id, tried, origin))
            raise
        if moved is not None:
            self._happened(event, moved, origin, is_attested=event is Event.TAKEN)  # by whoever took it
        return moved

    async def _resolve(self, row_id: int | None = None) -> None:
        """Find out whether the events in doubt, or those of one row, are in the store, and tell of those that are.

        To be done before a row changes again: after that nothing shows it.

        :raises StoreUnavailable: it cannot say; they stay in doubt.
        """
        for each in [each for each in self._doubts if row_id in (None, each.id)]:
            row = await self.run(partial(self._store.get, each.id))
            if each not in self._doubts:  # another found out meanwhile: it is told once
                continue
            self._doubts.remove(each)
            if row is not None and (row.state, row.updated) == (target(each.event), each.at):
                self._happened(each.event, row, each.origin)

    def _recorded(self, event: Event, origin: Origin = NOWHERE) -> Callable[[Enrollment], Record] | None:
        """What the store writes into the audit of an event, given the row after it."""
        audit = self._audit
        return None if audit is None else lambda row: audit.stamped(describe(event, row, origin))

    def _happened(self, event: Event, row: Enrollment, origin: Origin = NOWHERE, *, is_attested: bool = False) -> None:
        """Tell of an event that is in the store, and in its audit."""
        self._record(event, row)
        if self._audit is not None and not is_attested:
            self._audit.repeat(describe(event, row, origin))
        self._tell(row)

    async def attest(self, event: Event, row: Enrollment, origin: Origin = NOWHERE) -> None:
        """Have the audit's record of an event that happened to a row on disk in all places where it must be.

        :raises AuthorityError: it is not, so what is to follow from the event must not.
        """
        if self._audit is not None:
            await self._audit.attest(describe(event, row, origin))

    async def annotate(self, row: Enrollment, **changes: Any) -> Enrollment | None:
        """Change facts about a row that stays in its state; None when it has moved on."""
        await self._resolve(row.id)
        now = self.now()
        return await self.run(lambda: self._store.move(row.id, {row.state}, row.state, now, row, **changes))

    async def changed(self, row: Enrollment, seconds: float) -> Enrollment:
        """Wait until the row is in another state than the one given; after so many seconds return it as it is."""
        waiter: Deferred[Enrollment | None] = Deferred()
        entry = (row, waiter)
        self._waiters[row.id].append(entry)
        alarm = self._clock.callLater(seconds, _give_up, waiter)
        try:
            # Somebody may have changed it between the caller's look at the row and this waiter.
            latest = await self.run(lambda: self._store.get(row.id))
            if latest is not None and latest.state is not row.state:
                return latest
            if not self._patient or seconds <= 0:
                return row
            return await waiter or await self.run(lambda: self._store.get(row.id)) or row
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
        """Do something with the store in a thread; the Deferred fails with StoreUnavailable if none is free in time.

        While the database hangs each call takes its time to fail, and whoever is behind it would wait as often.
        """
        queued = self._clock.seconds()

        def in_time() -> T:
            if self._clock.seconds() - queued > QUEUE:
                raise StoreUnavailable(f"the database was busy with other work for {QUEUE:.0f} seconds")
            return work()

        return self._in_thread(in_time)

    @property
    def waiting(self) -> int:
        """How many wait for a row to change."""
        return sum(map(len, self._waiters.values()))

    @property
    def store(self) -> Store:
        """The blocking store, for use inside :meth:`run`."""
        return self._store

    async def _look(self) -> None:
        now = self.now()
        await self._resolve()
        if self._waiters:
            since = self._looked - _OVERLAP
            for row in await self.run(lambda: self._store.changed(since)):
                self._tell(row)
        self._looked = now  # only now: what changed while the store could not be asked is still to be told

    @property
    def is_written(self) -> bool:
        """Whether the store took what was written into it a moment ago."""
        return self._beaten is not None and self._clock.seconds() - self._beaten <= STALE

    async def _beat(self) -> None:
        now = self.now()
        await self.run(lambda: self._store.beat(self.process, now))
        self._beaten = self._clock.seconds()

    async def _clean(self) -> None:
        now = self.now()
        delivered_before, before = now - self.replay, now - max(self.keep, KEPT)
        # In small steps: with SQLite whoever enrolls meanwhile is next in the queue.
        recorded = self._recorded(Event.OUTDATED)
        while closed := await self.run(lambda: self._store.retire(now, delivered_before, before, recorded)):
            for row in closed:
                self._happened(Event.OUTDATED, row)
        while await self.run(lambda: self._store.clean(before)):
            pass
        while await self.run(lambda: self._store.audit.clean(before)):
            pass

    def _tell(self, row: Enrollment) -> None:
        for left, waiter in list(self._waiters.get(row.id, ())):
            if left.state is not row.state and not waiter.called:
                waiter.callback(row)


def loop(body: Callable[[], Coroutine[Deferred[Any], Any, None]], clock: IReactorTime) -> LoopingCall:
    """Return a loop, still to be started, whose body cannot end it."""

    async def guarded() -> None:
        try:
            await body()
        except StoreUnavailable as trouble:
            _log.warn("the ledger cannot be reached: {trouble}", trouble=trouble)
        except Exception:
            _log.failure("a loop of the ledger failed and goes on")

    calls = LoopingCall(lambda: Deferred.fromCoroutine(guarded()))
    calls.clock = clock
    return calls


def _is_spent(row: Enrollment, replay_before: datetime) -> bool:
    """Whether its certificate was written out so long ago that the same request is a new one."""
    return row.state is State.DELIVERED and row.delivered is not None and row.delivered < replay_before


def _give_up(waiter: Deferred[Enrollment | None]) -> None:
    if not waiter.called:
        waiter.callback(None)
