"""A value that is fetched when it is first needed, by one caller for all who wait, and kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

_PAUSE = 10.0


class Cached(Generic[T]):
    """Keeps the last value ``fetch`` gave.

    Callers that come while a fetch is under way join it, and one that gives up waiting does not end it. When a
    fetch fails, whatever was kept is given out instead, old as it is, and no new one is tried for ten seconds.

    :param ttl: seconds a value is good for; None keeps it until :meth:`forget`, 0 keeps none at all.
    :param behind: whether a value whose time is over is given out once more while a new one is fetched.
    """

    def __init__(
        self,
        fetch: Callable[[], Coroutine[Deferred[Any], Any, T]],
        clock: IReactorTime,
        ttl: float | None,
        *,
        behind: bool = False,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ttl = ttl
        self._behind = behind
        self._kept: tuple[T] | None = None
        self._good_until: float | None = None
        self._waiting: list[Deferred[T]] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no value to give without fetching one."""
        return self._kept is None

    def offer(self, value: T) -> None:
        """Keep a value from elsewhere as an old one, unless there is one."""
        if self._kept is None:
            self._kept = (value,)
            self._good_until = float("-inf")

    async def get(self) -> T:
        """Return the value, fetching it if need be.

        :raises Exception: what ``fetch`` raised, when there is nothing older to give.
        """
        if self._kept is not None and (self._good_until is None or self._clock.seconds() < self._good_until):
            return self._kept[0]
        if self._behind and self._kept is not None:
            old = self._kept
            self._join()
            return (self._kept or old)[0]
        waiter: Deferred[T] = Deferred()
        self._join(waiter)
        return await waiter

    def forget(self) -> None:
        """Fetch anew at the next call; the old value still serves should that fail."""
        self._good_until = float("-inf")

    def _join(self, *waiters: Deferred[T]) -> None:
        """Wait for the fetch that is under way; if there is none, begin one."""
        if self._waiting is not None:
            self._waiting += waiters
            return
        self._waiting = [*waiters]
        Deferred.fromCoroutine(self._fetch()).addCallbacks(self._fetched, self._failed).addBoth(self._answer)

    def _fetched(self, value: T) -> T:
        if self._ttl != 0:
            self._kept = (value,)
        self._good_until = None if self._ttl is None else self._clock.seconds() + self._ttl
        return value

    def _failed(self, failure: Failure) -> T | Failure:
        if self._kept is None:
            return failure
        self._good_until = self._clock.seconds() + _PAUSE
        return self._kept[0]

    def _answer(self, result: T | Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)
