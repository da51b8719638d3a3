from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock

from kipuka.authority.pool.breaker import Breaker, Circuit, Thresholds, breaker, diagram
from kipuka.authority.pool.health import Status
from kipuka.authority.pool.vitals import Vitals
from kipuka.errors import Kind
from tests.unit.pool.cas import run, trouble

ROOT = Path(__file__).parents[3]


def after(events: str, failure: int = 3, success: int = 2) -> Breaker:
    """A breaker that saw these: f for a failure, s for a success."""
    tried = breaker(Thresholds(failure, success))
    for event in events:
        tried.failed() if event == "f" else tried.succeeded()
    return tried


def test_it_opens_after_so_many_failures_in_a_row_and_not_before() -> None:
    assert after("").circuit() is Circuit.UNTRIED
    assert after("ff").circuit() is Circuit.CLOSED
    assert after("fff").circuit() is Circuit.OPEN
    assert after("ffsff").circuit() is Circuit.CLOSED
    assert after("f", failure=1).circuit() is Circuit.OPEN


def test_it_closes_after_so_many_successes_in_a_row() -> None:
    assert after("fffs").circuit() is Circuit.HALF_OPEN
    assert after("fffss").circuit() is Circuit.CLOSED
    assert after("fffs", success=1).circuit() is Circuit.CLOSED


def test_a_failure_in_half_open_opens_it_again_and_the_successes_before_are_forgotten() -> None:
    assert after("fffsf").circuit() is Circuit.OPEN
    assert after("fffsfs").circuit() is Circuit.HALF_OPEN
    assert after("fffsfss").circuit() is Circuit.CLOSED


def test_what_opened_it_is_not_held_against_it_when_it_is_closed_again() -> None:
    assert after("fffssff").circuit() is Circuit.CLOSED
    assert after("fffssfff").circuit() is Circuit.OPEN


def test_failures_are_counted_through_until_a_success() -> None:
    assert [after("f" * n).failures() for n in range(6)] == [0, 1, 2, 3, 4, 5]
    assert after("ffffs").failures() == 0
    assert after("ffffsf").failures() == 1


def test_every_input_is_decided_in_every_state() -> None:
    inputs = [
        Breaker.succeeded,
        Breaker.failed,
        Breaker.circuit,
        Breaker.failures,
        Breaker._mend,
    ]
    for history in ("", "s", "f", "fff", "fffs"):
        for each in inputs:
            getattr(after(history), each.__name__)()
        after(history)._trip(5)


def test_the_diagram_in_the_documentation_is_the_machine() -> None:
    assert (ROOT / "docs" / "breaker.dot").read_text() == diagram()


class BreakerMachine(RuleBasedStateMachine):
    """Vitals under a clock, against a model that keeps the whole history of each state."""

    @initialize(failure=st.integers(1, 4), success=st.integers(1, 3))
    def begin(self, failure: int, success: int) -> None:
        self.failure, self.success = failure, success
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.told: list[tuple[Circuit, Circuit]] = []
        self.vitals = Vitals(
            "ca", self.clock, Thresholds(failure, success), told=lambda t: self.told.append((t.before, t.after))
        )
        self.state = Circuit.UNTRIED
        self.history: list[bool] = []
        self.since = self.clock.seconds()

    def _row(self, outcome: bool) -> int:
        """How many of these outcomes end the history."""
        length = 0
        for each in reversed(self.history):
            if each is not outcome:
                break
            length += 1
        return length

    def _enter(self, state: Circuit) -> None:
        self.state, self.history, self.since = state, [], self.clock.seconds()

    def _happen(self, well: bool) -> None:
        if self.state is Circuit.UNTRIED:
            self._enter(Circuit.CLOSED)
        self.history.append(well)
        if self.state is Circuit.CLOSED and self._row(False) >= self.failure:
            self._enter(Circuit.OPEN)
        elif self.state is Circuit.OPEN and well:
            self._enter(Circuit.HALF_OPEN)
            self.history.append(True)
        elif self.state is Circuit.HALF_OPEN and not well:
            self._enter(Circuit.OPEN)
        if self.state is Circuit.HALF_OPEN and len(self.history) >= self.success:
            self._enter(Circuit.CLOSED)

    @rule(well=st.booleans(), seconds=st.integers(0, 100))
    def probe(self, well: bool, seconds: int) -> None:
        async def work() -> None:
            if not well:
                raise trouble(Kind.UNREACHABLE)

        self.clock.advance(seconds)
        run(self.vitals.probe(work))
        self._happen(well)

    @precondition(lambda self: self.state is not Circuit.OPEN)
    @rule(kind=st.sampled_from([None, Kind.UNREACHABLE, Kind.NO_ANSWER, Kind.BAD_ANSWER]))
    def live_request(self, kind: Kind | None) -> None:
        self._ask(kind)
        self._happen(kind is None)

    @rule(kind=st.sampled_from([Kind.REFUSED, Kind.INVALID, Kind.TOO_LARGE, Kind.BUSY, Kind.MISCONFIGURED]))
    def a_requests_own_fault(self, kind: Kind) -> None:
        self._ask(kind)

    def _ask(self, kind: Kind | None) -> None:
        async def work() -> None:
            if kind is not None:
                raise trouble(kind)

        try:
            run(self.vitals.count(work))
        except Exception as error:
            assert kind is not None and getattr(error, "kind", None) is kind

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if not hasattr(self, "vitals"):
            return
        assert self.vitals.circuit is self.state
        assert self.vitals.seconds_in_state == self.clock.seconds() - self.since
        health = self.vitals.health()
        well = health.status in (Status.HEALTHY, Status.UNKNOWN, Status.HALF_OPEN)
        assert well == (health.consecutive_failures == 0)

    @invariant()
    def every_change_was_told_and_nothing_else(self) -> None:
        if getattr(self, "told", None):
            assert all(before is not now for before, now in self.told)
            assert self.told[0][0] is Circuit.UNTRIED
            assert self.told[-1][1] is self.state
            assert all(self.told[n][1] is self.told[n + 1][0] for n in range(len(self.told) - 1))


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase
