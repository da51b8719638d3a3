"""Log lines about what anybody can make happen as often as they like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

EVERY = 10.0
"""Seconds from one line of a kind to the next."""


class Seldom:
    """Lets one line of a kind through and keeps the next ones back for a while, so that a flood fills no disk.

    :param seconds: a clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._kept_back: Counter[str] = Counter()

    def tail(self, kind: str) -> str | None:
        """What to put at the end of a line, which says how many were kept back before it; None: keep this one back too.

        :param kind: one of a few words.
        """
        now = self._seconds()
        if kind in self._last and 0 <= now - self._last[kind] < EVERY:
            self._kept_back[kind] += 1
            return None
        self._last[kind] = now
        more = self._kept_back.pop(kind, 0)
        return f" (and {more} more since the last such line)" if more else ""
