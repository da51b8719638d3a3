from __future__ import annotations

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
