from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.authority.pool import Status, Transition, Vitals, Watch
from kipuka.authority.pool.breaker import Circuit
from kipuka.errors import AuthorityError, Kind
from tests.unit.pool.cas import FakeCa, gone, run, trouble


class WatchTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.ca = FakeCa("a")
        self.told: list[Transition] = []
        self.vitals = Vitals("a", self.clock, group="pool", told=self.told.append)
        self.late = 0.0
        self.watch = Watch(self.ca, self.vitals, self.clock, lambda: self.late, interval=30, timeout=10)

    def probed(self) -> int:
        return self.ca.calls.count("probe")

    def test_it_probes_at_once_and_then_at_every_interval(self) -> None:
        assert self.vitals.health().status is Status.UNKNOWN
        assert self.vitals.health().last_check is None
        self.watch.start()
        self.clock.advance(0)
        assert self.vitals.health().status is Status.HEALTHY
        for _ in range(4):
            self.clock.advance(30)
        assert self.probed() == 5
        checked = self.vitals.health().last_check
        assert checked is not None
        assert checked.timestamp() == self.clock.seconds()

    def test_the_moment_of_each_probe_is_not_quite_predictable(self) -> None:
        self.late = 1.0
        self.watch.start()
        self.clock.advance(2.9)
        assert self.probed() == 0
        self.clock.advance(0.2)
        assert self.probed() == 1

    def test_however_long_the_interval_the_first_probe_comes_soon(self) -> None:
        self.late = 1.0
        Watch(self.ca, self.vitals, self.clock, lambda: self.late, interval=600).start()
        self.clock.advance(3)
        assert self.probed() == 1

    def test_three_failures_open_it_and_two_successes_close_it(self) -> None:
        self.ca.away = gone()
        self.watch.start()
        seen = []
        for seconds in (0, 30, 30, 30):
            self.clock.advance(seconds)
            seen.append((self.vitals.health().status, self.vitals.health().consecutive_failures))
        assert seen == [
            (Status.DEGRADED, 1),
            (Status.DEGRADED, 2),
            (Status.CIRCUIT_OPEN, 3),
            (Status.CIRCUIT_OPEN, 4),
        ]
        assert self.vitals.is_refusing
        self.ca.away = None
        self.clock.advance(30)
        assert self.vitals.health().status is Status.HALF_OPEN
        self.clock.advance(30)
        assert self.vitals.health().status is Status.HEALTHY
        assert [(each.before, each.after) for each in self.told] == [
            (Circuit.UNTRIED, Circuit.CLOSED),
            (Circuit.CLOSED, Circuit.OPEN),
            (Circuit.OPEN, Circuit.HALF_OPEN),
            (Circuit.HALF_OPEN, Circuit.CLOSED),
        ]
        assert self.told[1].trouble is not None
        assert self.told[1].trouble.kind is Kind.UNREACHABLE

    def test_a_probe_that_takes_too_long_is_given_up_and_has_failed(self) -> None:
        cancelled: list[Any] = []
        self.ca.probes = [Deferred(cancelled.append)]
        self.watch.start()
        self.clock.advance(0)
        self.clock.advance(9.9)
        assert self.vitals.health().last_check is None
        self.clock.advance(0.2)
        assert cancelled
        health = self.vitals.health()
        assert health.status is Status.DEGRADED
        assert health.last_error is not None
        assert health.last_error.kind is Kind.NO_ANSWER
        self.clock.advance(30)
        assert self.vitals.health().status is Status.HEALTHY

    def test_there_is_one_probe_at_a_time(self) -> None:
        self.ca.probes = [Deferred()]
        self.watch.start()
        self.clock.advance(1)
        self.watch.probe_now()
        assert self.probed() == 1

    def test_whatever_a_probe_does_the_watch_goes_on(self) -> None:
        self.ca.probes = [ZeroDivisionError(), trouble(Kind.BAD_ANSWER)]
        self.watch.start()
        self.clock.advance(0)
        self.clock.advance(30)
        assert self.vitals.health().consecutive_failures == 2
        self.clock.advance(30)
        assert self.vitals.health().status is Status.HEALTHY
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1

    def test_whatever_is_done_with_the_news_the_watch_goes_on(self) -> None:
        def broken(_: Transition) -> None:
            raise ZeroDivisionError

        vitals = Vitals("a", self.clock, told=broken)
        watch = Watch(self.ca, vitals, self.clock, lambda: 0.0)
        watch.start()
        self.clock.advance(0)
        self.clock.advance(30)
        assert self.probed() == 2
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1

    def test_a_ca_that_is_only_busy_is_neither_well_nor_ill(self) -> None:
        self.ca.probes = [trouble(Kind.BUSY)]
        self.watch.start()
        self.clock.advance(0)
        assert self.vitals.health().status is Status.UNKNOWN

    def test_a_doubt_is_cleared_by_a_probe_at_once(self) -> None:
        async def enroll() -> None:
            raise trouble(Kind.MISCONFIGURED)

        self.watch.start()
        self.clock.advance(0)
        with self.assertRaises(AuthorityError):
            run(self.vitals.count(enroll))
        assert (self.probed(), self.vitals.health().status) == (2, Status.HEALTHY)
        self.ca.away = trouble(Kind.BAD_ANSWER)  # as when its directory is down
        for _ in range(3):
            with self.assertRaises(AuthorityError):
                run(self.vitals.count(enroll))
        assert self.vitals.health().status is Status.CIRCUIT_OPEN

    def test_stopping_gives_up_the_probe_under_way_and_counts_nothing(self) -> None:
        self.ca.probes = [Deferred()]
        self.watch.start()
        self.clock.advance(1)
        run(self.watch.stop())
        assert self.vitals.health().status is Status.UNKNOWN
        assert not self.clock.getDelayedCalls()

    def test_stopping_before_the_first_probe(self) -> None:
        self.late = 1.0
        self.watch.start()
        run(self.watch.stop())
        assert self.probed() == 0
        assert not self.clock.getDelayedCalls()

    def test_what_is_shown_of_it(self) -> None:
        self.ca.away = gone()
        self.watch.start()
        self.clock.advance(0)
        assert self.vitals.health(in_flight=3).as_json() == {
            "status": "degraded",
            "last_check": "1970-01-12T13:46:40Z",
            "consecutive_failures": 1,
            "since": "1970-01-12T13:46:40Z",
            "last_error": {
                "code": "unreachable",
                "message": "The CA is in trouble (unreachable): try again later.",
                "at": "1970-01-12T13:46:40Z",
            },
            "last_success": None,
            "in_flight": 3,
            "group": "pool",
        }
        fresh = Vitals("b", self.clock).health().as_json()
        assert (fresh["status"], fresh["last_check"], fresh["last_error"], fresh["group"]) == ("unknown", *[None] * 3)
