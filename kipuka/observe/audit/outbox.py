"""What is to be written to one place, in order and in batches: whoever reports an event does not wait for a disk.

The queue is bounded. What cannot be written stays in it and is tried again; what finds it full is counted and lost.
Only who says so waits, and is told when it could not be written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

LIMIT = 10_000
"""Items that may wait, apart from those that somebody waits for: connections bound their number."""
BATCH = 500
RETRY = 2.0
"""Seconds after which a place that could not be written is tried again."""

_log = Logger("kipuka.audit")


class Outbox(Generic[T]):
    """A queue in front of one place.

    :param name: of the place, for the log.
    :param write: writes a batch, all or nothing.
    :param recovered: called with the number of lost items when writing works again.
    :param pause: seconds between two batches that nobody waits for, so that they are fewer and larger.
    :param failed: called for each batch that could not be written.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[T]], Deferred[Any]],
        clock: IReactorTime,
        recovered: Callable[[int], None],
        pause: float = 0.0,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._write = write
        self._clock = clock
        self._recovered = recovered
        self._told = failed
        self._pause = pause
        self._queue: deque[tuple[T, Deferred[None] | None]] = deque()
        self._taken: list[tuple[T, Deferred[None] | None]] = []  # out of the queue, and being written
        self._batch: Deferred[None] | None = None
        self._alarm: IDelayedCall | None = None
        self._open = False
        self._unreported = 0
        self.lost = 0
        """How many items were lost since the start."""
        self.is_failing = False

    def start(self) -> None:
        """Begin to write; until then items wait."""
        self._open = True
        self._next()

    def put(self, item: T) -> None:
        """Have it written some time."""
        if len(self._queue) + len(self._taken) >= LIMIT:
            self.lost += 1
            self._unreported += 1
            return
        self._queue.append((item, None))
        self._next()

    def deliver(self, item: T) -> Deferred[None]:
        """Have it written at once; fires when it is, fails when it is not, and then it is not tried again.

        Who waits no longer cancels it, and it is not written either, unless that is under way.
        """
        waiter: Deferred[None] = Deferred(self._withdraw)
        self._queue.append((item, waiter))
        self._now()
        return waiter

    async def close(self) -> None:
        """Write what is left, as far as that works at once, and nothing from now on."""
        while self._queue or self._batch is not None:
            if self._batch is None:
                self._now()
            if self._batch is not None:
                await self._batch
            if self.is_failing or not self._open:
                break
        self._open = False
        self._cancel()
        if self._queue:
            _log.error("{number} audit records were not written to {name}", number=len(self._queue), name=self._name)

    def _withdraw(self, waiter: Deferred[None]) -> None:
        self._queue = deque(each for each in self._queue if each[1] is not waiter)

    def _next(self) -> None:
        """See that the next batch is written when it is due."""
        if not self._open or self._batch is not None or self._alarm is not None or not self._queue:
            return
        seconds = RETRY if self.is_failing else self._pause
        if any(waiter is not None for _, waiter in self._queue):
            seconds = 0
        self._alarm = self._clock.callLater(seconds, self._now)

    def _now(self) -> None:
        self._cancel()
        if not self._open or self._batch is not None or not self._queue:
            return
        self._taken = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        self._batch = Deferred()
        written = maybeDeferred(self._write, [item for item, _ in self._taken])
        written.addCallbacks(lambda _: self._wrote(), self._failed)
        written.addErrback(lambda failure: _log.failure("writing the audit failed in an unforeseen way", failure))

    def _wrote(self) -> None:
        waiters = [waiter for _, waiter in self._taken]
        self._taken = []
        if self.is_failing:
            self.is_failing = False
            _log.info("the audit is written to {name} again", name=self._name)
        self._end(waiters, None)
        if self._unreported:
            lost, self._unreported = self._unreported, 0
            _log.error("{number} audit records for {name} were lost", number=lost, name=self._name)
            self._recovered(lost)

    def _failed(self, failure: Failure) -> None:
        self._told()
        if not self.is_failing:
            self.is_failing = True
            _log.critical("the audit cannot be written: {why}", why=failure.getErrorMessage())
        waiting, self._taken = [*self._taken, *self._queue], []
        waiters = [waiter for _, waiter in waiting if waiter is not None]
        self._queue = deque((item, waiter) for item, waiter in waiting if waiter is None)
        self._end(waiters, failure)

    def _end(self, waiters: Sequence[Deferred[None] | None], failure: Failure | None) -> None:
        batch, self._batch = self._batch, None
        for waiter in waiters:
            if waiter is not None and not waiter.called:
                waiter.callback(None) if failure is None else waiter.errback(failure)
        if batch is not None:
            batch.callback(None)
        self._next()

    def _cancel(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
