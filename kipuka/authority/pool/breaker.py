"""The circuit breaker of one CA: whether requests are sent to it, decided by what came of the last ones.

Untried: nothing is known yet, and it is used. Closed: it is used. Open: it failed so many times in a row; it is only
probed. Half-open: it has answered since; so many successes in a row close it, and the first failure opens it again.
What is counted belongs to the state in which it is counted, and is gone with it. There is no clock in here: time goes
by in probes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from automat import TypeMachineBuilder


class Circuit(Enum):
    """A breaker's state."""

    UNTRIED = "untried"
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Thresholds:
    """How many in a row.

    :param failure: failures that open a closed breaker.
    :param success: successes that close an open one.
    """

    failure: int = 3
    success: int = 2


class Breaker(Protocol):
    """What happens to a breaker, and what it can be asked."""

    def succeeded(self) -> None:
        """The CA did what it was asked."""

    def failed(self) -> None:
        """It did not, and that was not the request's fault."""

    def circuit(self) -> Circuit:
        """The state."""

    def failures(self) -> int:
        """How many failures there have been since the last success."""

    def _trip(self, failures: int) -> None:
        """Too many failures in a row, of which there were so many."""

    def _mend(self) -> None:
        """Enough successes in a row."""


@dataclass
class _Row:
    """Of failures or of successes."""

    length: int = 0


def _machine() -> Callable[[Thresholds], Breaker]:
    machine = TypeMachineBuilder(Breaker, Thresholds)

    def begin(breaker: Breaker, thresholds: Thresholds) -> _Row:
        return _Row()

    def take_over(breaker: Breaker, thresholds: Thresholds, failures: int) -> _Row:
        return _Row(failures)

    untried = machine.state("Untried")
    closed = machine.state("Closed", begin)  # failures in a row
    opened = machine.state("Open", take_over)  # failures in a row
    half_open = machine.state("HalfOpen", begin)  # successes in a row

    untried.upon(Breaker.circuit).loop().returns(Circuit.UNTRIED)
    closed.upon(Breaker.circuit).loop().returns(Circuit.CLOSED)
    opened.upon(Breaker.circuit).loop().returns(Circuit.OPEN)
    half_open.upon(Breaker.circuit).loop().returns(Circuit.HALF_OPEN)

    # The first outcome: from then on like any other.

    untried.upon(Breaker.succeeded).to(closed).returns(None)

    @untried.upon(Breaker.failed).to(closed)
    def first_failure(breaker: Breaker, thresholds: Thresholds) -> None:
        breaker.failed()

    untried.upon(Breaker.failures).loop().returns(0)
    untried.upon(Breaker._trip).loop().returns(None)
    untried.upon(Breaker._mend).loop().returns(None)

    # Closed

    @closed.upon(Breaker.succeeded).loop()
    def end_of_row(breaker: Breaker, thresholds: Thresholds, failures: _Row) -> None:
        failures.length = 0

    @closed.upon(Breaker.failed).loop()
    def one_failure_more(breaker: Breaker, thresholds: Thresholds, failures: _Row) -> None:
        failures.length += 1
        if failures.length >= thresholds.failure:
            breaker._trip(failures.length)

    @closed.upon(Breaker._trip).to(opened)
    def no_more_requests(breaker: Breaker, thresholds: Thresholds, row: _Row, failures: int) -> None:
        """Only probes from now on."""

    closed.upon(Breaker._mend).loop().returns(None)

    # Open

    @opened.upon(Breaker.succeeded).to(half_open)
    def first_success(breaker: Breaker, thresholds: Thresholds, failures: _Row) -> None:
        breaker.succeeded()

    @opened.upon(Breaker.failed).loop()
    def still_away(breaker: Breaker, thresholds: Thresholds, failures: _Row) -> None:
        failures.length += 1

    @opened.upon(Breaker._trip).loop()
    def open_already(breaker: Breaker, thresholds: Thresholds, row: _Row, failures: int) -> None:
        """Nothing is left to do."""

    opened.upon(Breaker._mend).loop().returns(None)

    # Half-open

    @half_open.upon(Breaker.succeeded).loop()
    def one_success_more(breaker: Breaker, thresholds: Thresholds, successes: _Row) -> None:
        successes.length += 1
        if successes.length >= thresholds.success:
            breaker._mend()

    @half_open.upon(Breaker.failed).loop()
    def not_well_yet(breaker: Breaker, thresholds: Thresholds, successes: _Row) -> None:
        breaker._trip(1)

    @half_open.upon(Breaker._trip).to(opened)
    def open_again(breaker: Breaker, thresholds: Thresholds, successes: _Row, failures: int) -> None:
        """Its successes are forgotten."""

    @half_open.upon(Breaker._mend).to(closed)
    def requests_again(breaker: Breaker, thresholds: Thresholds, successes: _Row) -> None:
        """And no failure is held against it."""

    half_open.upon(Breaker.failures).loop().returns(0)

    @closed.upon(Breaker.failures).loop()
    @opened.upon(Breaker.failures).loop()
    def length_of_row(breaker: Breaker, thresholds: Thresholds, failures: _Row) -> int:
        return failures.length

    return machine.build()


breaker = _machine()
"""Makes a breaker with these thresholds, untried."""


def diagram() -> str:
    """The breaker as a Graphviz graph, for the documentation: found by trying everything on it, in every state."""
    happen: dict[str, Callable[[Breaker], None]] = {"success": Breaker.succeeded, "failure": Breaker.failed}
    kinds = {"success": "success_threshold", "failure": "failure_threshold"}
    moves: dict[tuple[Circuit, str], list[Circuit]] = {}
    histories: list[tuple[str, ...]] = [()]
    for _ in range(8):
        histories = [(*history, event) for history in histories for event in happen]
        for history in histories:
            tried = breaker(Thresholds(failure=2, success=3))
            for event in history:
                before = tried.circuit()
                getattr(tried, happen[event].__name__)()
                targets = moves.setdefault((before, event), [])
                if tried.circuit() not in targets:
                    targets.append(tried.circuit())
    lines = ["digraph breaker {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for before in Circuit:
        for event, kind in kinds.items():
            for after in moves[before, event]:
                counted = len(moves[before, event]) > 1 and after is not before
                label = f"{event} number {kind} in a row" if counted else event
                lines.append(f'  {before.value} -> {after.value} [label="{label}"];')
    return "\n".join([*lines, "}", ""])
