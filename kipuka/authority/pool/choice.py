"""Which of the CAs that can be used gets the next request. No clock, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Candidate:
    """A CA that can be used.

    :param in_flight: requests that are there now.
    :param weight: above 0 and up to 1: its share beside one with 1. Less while it comes back from a failure.
    """

    id: str
    in_flight: int = 0
    weight: float = 1.0


class Choice(Protocol):
    """A way to choose."""

    def pick(self, candidates: Sequence[Candidate]) -> str:
        """The id of one of them, of which there is at least one, in the order of the configuration."""


class InOrder:
    """The first that can be used: active-passive."""

    def pick(self, candidates: Sequence[Candidate]) -> str:
        """The first."""
        return candidates[0].id


class RoundRobin:
    """All in turn, each as often as its weight says and as evenly as can be ("smooth weighted round robin").

    Each time every candidate is credited its weight, and the one with the most credit pays for all.
    """

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def pick(self, candidates: Sequence[Candidate]) -> str:
        """The one whose turn it is. One that was away has no turns to make up for."""
        credit = {each.id: self._credit.get(each.id, 0.0) + each.weight for each in candidates}
        chosen = max(candidates, key=lambda each: credit[each.id]).id
        credit[chosen] -= sum(each.weight for each in candidates)
        self._credit = credit
        return chosen


class LeastConnections:
    """The one with the fewest requests for its weight; among equals in turn."""

    def __init__(self) -> None:
        self._turns = RoundRobin()

    def pick(self, candidates: Sequence[Candidate]) -> str:
        """The least busy."""
        load = {each.id: (each.in_flight + 1) / each.weight for each in candidates}
        least = min(load.values())
        return self._turns.pick([each for each in candidates if load[each.id] == least])
