from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred

from kipuka.authority.interface import (
    Absent,
    Finding,
    Pending,
    PendingRequests,
    Progress,
    Refused,
    Undecided,
)
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.polling import Poller
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import State
from tests.unit.enrollment.office import FakeAuthority, Node, csr
from tests.unit.enrollment.test_registration import Case, trouble

INTERVAL, SETTLE = 5.0, 30.0


class TrackedAuthority(FakeAuthority):
    """A CA with a list of pending requests, and a memory that can be searched."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: set[str] = set()
        self.complete = True
        self.results: dict[str, Progress] = {}
        self.found: Finding | Exception | Deferred[Finding] = Absent()
        self.slow: list[Deferred[None]] | None = None
        self.fails_for: dict[str, AuthorityError] = {}
        self.away: AuthorityError | None = None
        self.lists = self.asked_after = self.searches = 0
        self.known: frozenset[str] = frozenset()

    async def still_pending(self, expected: int) -> PendingRequests:
        self.lists += 1
        if self.away:
            raise self.away
        return PendingRequests(frozenset(self.pending), self.complete)

    async def progress(self, request_id: str) -> Progress:
        self.asked_after += 1
        return self.results.get(request_id, Undecided("nothing known"))

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        self.searches += 1
        self.known = known
        if self.slow is not None:
            self.slow.append(Deferred())
            await self.slow[-1]
        if public_key in self.fails_for:
            raise self.fails_for[public_key]
        if isinstance(self.found, Deferred):
            return await self.found
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class TrackedCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.tracked = TrackedAuthority()
        self.ca = self.tracked
        self.node = self.new_node("polling-1")

    def poller(self, node: Node | None = None) -> Poller:
        poller = Poller(self.tracked, (node or self.node).ledger, self.clock, INTERVAL, SETTLE, lambda: 1.0)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(poller.stop())))
        return poller

    def pending(self, number: str) -> tuple[Deferred[Any], Any]:
        request = csr()
        self.tracked.script = [Pending(number)]
        self.tracked.pending.add(number)
        return self.node.ask(request), request


class Polling(TrackedCase):
    def test_one_list_a_round_however_many_wait(self) -> None:
        for number in range(20):
            self.pending(str(number))
        self.poller().start()
        assert (self.tracked.lists, self.tracked.asked_after) == (1, 0)
        self.clock.advance(INTERVAL)
        assert (self.tracked.lists, self.tracked.asked_after) == (2, 0)

    def test_nothing_is_asked_when_nothing_waits(self) -> None:
        self.poller().start()
        self.clock.pump([INTERVAL] * 3)
        assert (self.tracked.lists, self.tracked.searches) == (0, 0)

    def test_the_waiting_client_is_answered_in_the_round_that_sees_the_approval(self) -> None:
        answer, request = self.pending("7")
        self.poller().start()
        self.assertNoResult(answer)
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(request)
        self.clock.advance(INTERVAL)
        assert self.successResultOf(answer).certificate is not None
        assert self.tracked.asked_after == 1

    def test_wait_05_the_agents_no_reaches_the_client(self) -> None:
        answer, _ = self.pending("7")
        self.tracked.pending.clear()
        self.tracked.results["7"] = Refused("not one of ours")
        self.poller().start()
        error = self.failureResultOf(answer, AuthorityError).value
        assert error.kind is Kind.REFUSED
        assert "not one of ours" in error.text

    def test_a_request_that_the_ca_does_not_know_at_the_moment_goes_on_waiting(self) -> None:
        answer, _ = self.pending("7")
        self.tracked.pending.clear()
        self.poller().start()
        self.clock.advance(INTERVAL)
        self.assertNoResult(answer)
        assert self.node.states() == [State.PENDING]

    def test_a_certificate_of_another_key_is_not_taken(self) -> None:
        answer, _ = self.pending("7")
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(csr())
        self.poller().start()
        self.assertNoResult(answer)
        assert self.node.states() == [State.PENDING]

    def test_a_list_cut_short_is_not_believed_and_little_is_asked(self) -> None:
        for number in range(40):
            self.pending(str(number))
        self.tracked.pending.clear()
        self.tracked.complete = False
        self.poller().start()
        assert self.tracked.asked_after == 16
        assert set(self.node.states()) == {State.PENDING}

    def test_the_loop_outlives_a_ca_that_is_away_and_slows_down(self) -> None:
        answer, request = self.pending("7")
        self.tracked.away = trouble(Kind.UNREACHABLE)
        self.poller().start()
        self.clock.pump([1] * 30)
        assert 2 <= self.tracked.lists <= 4
        self.tracked.away = None
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(request)
        self.clock.pump([5] * 14)
        assert self.successResultOf(answer).certificate is not None

    def test_one_of_two_nodes_polls_and_the_other_takes_over(self) -> None:
        self.pending("7")
        other = self.new_node("polling-2")
        first, second = self.poller(), self.poller(other)
        first.start()
        second.start()
        assert self.tracked.lists == 1
        self.clock.advance(INTERVAL)
        assert self.tracked.lists == 2
        self.node.broken = True  # it cannot renew its lease
        self.clock.pump([INTERVAL] * 4)
        assert self.tracked.lists > 2

    def test_the_lease_is_kept_during_a_long_round(self) -> None:
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.tracked.found = Deferred()
        other = self.new_node("polling-2")
        first, second = self.poller(), self.poller(other)
        first.start()
        second.start()
        self.clock.pump([1] * 60)
        assert self.tracked.searches == 1
        self.tracked.found.callback(Absent())

    def test_the_lease_of_a_long_round_runs_out_when_it_cannot_be_renewed(self) -> None:
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.tracked.found = found = Deferred[Finding]()
        other = self.new_node("polling-2")
        first, second = self.poller(), self.poller(other)
        first.start()
        self.node.broken = True
        second.start()
        self.tracked.found = Absent()
        self.clock.pump([1] * 30)
        assert self.tracked.searches > 1
        self.node.broken = False
        found.callback(Absent())


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
