"""Reading many requests or certificates one by one: some at a time, no more than a look-up may, and none twice."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

_PARALLEL = 4
"""How many requests, and how many certificates, are read at the same time."""
_REMEMBERED = 50_000


class Budget:
    """How much may still be read."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.exceeded = False

    def take(self) -> bool:
        """Return whether one more may be read."""
        if self._left == 0:
            self.exceeded = True
            return False
        self._left -= 1
        return True


async def each(read: Callable[[int], Coroutine[Deferred[Any], Any, None]], numbers: Iterable[int]) -> None:
    """Read several at the same time, in this order; the first that fails is the last that is begun.

    :raises Exception: what reading that one raised.
    """
    left = iter(numbers)

    async def some() -> None:
        for number in left:
            try:
                await read(number)
            except BaseException:
                list(left)
                raise

    results = await DeferredList([Deferred.fromCoroutine(some()) for _ in range(_PARALLEL)], consumeErrors=True)
    for _, result in results:
        if isinstance(result, Failure):
            result.raiseException()


def remember(memory: dict[int, str | None], number: int, public_key: str | None) -> None:
    """Keep the newest entries only."""
    memory[number] = public_key
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
