"""Polling while lost requests are looked up, which may take long."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

from twisted.internet.defer import Deferred

from kipuka.authority.interface import (
    Absent,
    Finding,
    Progress,
    Undecided,
)
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.polling import PARALLEL as REQUESTS
from kipuka.enrollment.reconciliation import PARALLEL as LOOK_UPS
from kipuka.errors import Kind
from tests.unit.enrollment.office import csr
from tests.unit.enrollment.test_polling import INTERVAL, TrackedCase
from tests.unit.enrollment.test_registration import trouble


class BesideLookUps(TrackedCase):
    """A look-up of a lost request may take minutes at a slow CA, or fail: those who wait for an agent do not notice."""

    def setUp(self) -> None:
        super().setUp()
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.tracked.found = self.looking = Deferred[Finding]()

    def seconds_until(self, happened: Callable[[], object]) -> int:
        for seconds in range(1, 200):
            self.clock.advance(1)
            if happened():
                return seconds
        raise AssertionError("never")

    def test_an_approval_arrives_while_a_look_up_takes_long(self) -> None:
        self.poller().start()
        self.clock.pump([1] * 61)
        answer, request = self.pending("7")
        self.clock.pump([INTERVAL] * 3)
        assert self.tracked.lists == 3
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(request)
        assert self.seconds_until(lambda: answer.called) <= INTERVAL
        assert self.successResultOf(answer).certificate is not None
        assert self.tracked.searches == 1
        self.looking.callback(Absent())

    def test_there_is_one_round_of_look_ups_at_a_time_and_then_another(self) -> None:
        self.poller().start()
        self.clock.pump([1] * 33)
        assert self.tracked.searches == 1
        self.tracked.found = Absent()
        self.looking.callback(Absent())
        assert self.seconds_until(lambda: self.tracked.searches == 2) <= INTERVAL

    def test_who_stops_the_polling_waits_for_the_look_up_in_hand(self) -> None:
        poller = self.poller()
        poller.start()
        self.clock.advance(1)
        stopped = Deferred.fromCoroutine(poller.stop())
        successor = self.poller(self.new_node("polling-2"))
        successor.start()
        self.clock.pump([1] * 30)
        self.assertNoResult(stopped)
        assert self.tracked.searches == 1  # the lease is still kept
        self.tracked.found = Absent()
        self.looking.callback(Absent())
        self.successResultOf(stopped)
        self.clock.advance(INTERVAL)
        assert self.tracked.searches == 2

    def test_none_is_begun_after_that(self) -> None:
        for _ in range(10):
            self.tracked.script = [trouble(Kind.NO_ANSWER)]
            self.node.ask(csr()).addErrback(lambda _: None)
        self.tracked.found, self.tracked.slow = Absent(), []
        poller = self.poller()
        poller.start()
        stopped = Deferred.fromCoroutine(poller.stop())
        for each in list(self.tracked.slow):
            each.callback(None)
        self.successResultOf(stopped)
        assert self.tracked.searches == LOOK_UPS

    def test_nor_is_another_request_asked_after(self) -> None:
        asked: list[Deferred[Progress]] = []

        async def progress(_: str) -> Progress:
            asked.append(Deferred())
            return await asked[-1]

        for number in range(10):
            self.pending(str(number))
        self.tracked.pending.clear()
        self.looking.callback(Absent())
        poller = self.poller()
        with patch.object(self.tracked, "progress", progress):
            poller.start()
            stopped = Deferred.fromCoroutine(poller.stop())
            for each in list(asked):
                each.callback(Undecided("nothing known"))
            self.successResultOf(stopped)
        assert len(asked) == REQUESTS

    def test_the_lease_is_kept_for_a_look_up_while_the_rounds_slow_down(self) -> None:
        self.pending("7")
        self.tracked.away = trouble(Kind.UNREACHABLE)
        self.poller().start()
        other = self.poller(self.new_node("polling-2"))
        other.start()
        self.clock.pump([1] * 120)
        assert self.tracked.searches == 1
        assert self.tracked.lists <= 6
        self.looking.callback(Absent())

    def test_look_ups_that_fail_slow_down_and_recover(self) -> None:
        self.tracked.found = trouble(Kind.NO_ANSWER)
        self.poller().start()
        self.clock.pump([1] * 60)
        assert 4 <= self.tracked.searches <= 5
        self.clock.pump([1] * 300)
        assert self.tracked.searches <= 10
        self.tracked.found = Absent()
        before = self.tracked.searches
        self.seconds_until(lambda: self.tracked.searches > before)
        assert self.seconds_until(lambda: self.tracked.searches > before + 1) <= INTERVAL

    def test_so_do_those_that_fail_after_a_while(self) -> None:
        self.tracked.found, self.tracked.slow = trouble(Kind.NO_ANSWER), []
        self.poller().start()
        for _ in range(60):
            self.clock.advance(2)
            for each in list(self.tracked.slow):
                self.tracked.slow.remove(each)
                each.callback(None)
        assert 5 <= self.tracked.searches <= 7

    def test_look_ups_that_fail_beside_a_list_that_is_given_slow_nothing_down(self) -> None:
        self.tracked.found = trouble(Kind.NO_ANSWER)
        self.poller().start()
        self.clock.pump([1] * 120)
        answer, request = self.pending("7")
        self.seconds_until(lambda: self.tracked.lists)
        before = self.tracked.searches
        self.clock.pump([1] * 50)
        assert self.tracked.lists == 11
        assert self.tracked.searches == before + 10
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(request)
        assert self.seconds_until(lambda: answer.called) <= INTERVAL

    def test_nor_do_those_that_failed_before_and_now_take_long(self) -> None:
        self.tracked.found = trouble(Kind.NO_ANSWER)
        self.poller().start()
        self.clock.pump([1] * 120)
        self.tracked.found = self.looking
        self.pending("7")
        self.seconds_until(lambda: self.tracked.lists)
        self.clock.pump([1] * 50)
        assert self.tracked.lists == 11
        self.looking.callback(Absent())

    def test_nothing_goes_slow_for_look_ups_that_are_over(self) -> None:
        self.tracked.found = trouble(Kind.NO_ANSWER)
        self.poller().start()
        self.clock.pump([1] * 120)
        (row,) = self.node.rows()
        self.successResultOf(Deferred.fromCoroutine(self.node.ledger.happen(Event.ABANDONED, row)))
        self.clock.pump([1] * 60)
        self.pending("7")
        assert self.seconds_until(lambda: self.tracked.lists) <= INTERVAL

    def test_who_was_slow_takes_over_soon_all_the_same(self) -> None:
        self.tracked.found = trouble(Kind.NO_ANSWER)
        other = self.new_node("polling-2")
        first, second = self.poller(), self.poller(other)
        first.start()
        self.clock.pump([1] * 130)
        self.tracked.found = self.looking
        before = self.tracked.searches
        second.start()
        self.clock.pump([1] * 65)
        assert self.tracked.searches == before + 1  # by the second, since the first was slow to renew its lease
        other.broken = True
        self.tracked.found = Absent()
        assert self.seconds_until(lambda: self.tracked.searches > before + 1) <= 4 * INTERVAL
        other.broken = False
        self.looking.callback(Absent())

    def test_a_fault_in_a_look_up_ends_nothing(self) -> None:
        self.poller().start()
        self.looking.errback(RuntimeError("no"))
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        self.tracked.found = Absent()
        assert self.seconds_until(lambda: self.tracked.searches == 2) <= 2 * INTERVAL
