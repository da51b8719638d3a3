"""How often an address may fail to log in."""

from __future__ import annotations

from collections import OrderedDict

from kipuka.access.addresses import counted_as

MOST_ADDRESSES = 4096
"""What is remembered; the address that has been quiet longest is forgotten first."""


class Failures:
    """Counts failed log-ins by address.

    The right token is taken from a blocked address too: it has 256 random bits, so it was not found by trying, and
    several programs may share an address with the one that fails.

    :param allowed: failures of one address within the time; more are refused unseen.
    :param seconds: the time, from the first failure on.
    """

    def __init__(self, allowed: int = 10, seconds: float = 60) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str, now: float) -> int:
        """Count a failure.

        :param now: seconds of a clock that only goes forward.
        :return: how many the address has had within the time, this one included.
        """
        key = counted_as(address)
        since, number = self._failed.pop(key, (now, 0))
        if now - since >= self._seconds:
            since, number = now, 0
        self._failed[key] = (since, number + 1)
        if len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)
        return number + 1

    def is_too_many(self, number: int) -> bool:
        """Whether so many failures are more than allowed."""
        return number > self._allowed

    def wait(self, address: str, now: float) -> int:
        """Seconds until the address may fail again, at least 1."""
        since, _ = self._failed.get(counted_as(address), (now, 0))
        return max(1, round(since + self._seconds - now))
