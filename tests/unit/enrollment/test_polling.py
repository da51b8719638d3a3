from __future__ import annotations

from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred

from kipuka.authority.interface import (
    Absent,
    Finding,
    InProgress,
    Outcome,
    Pending,
    PendingRequests,
    Progress,
    Refused,
    Undecided,
)
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.reconciliation import PARALLEL
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.office import BOB, FakeAuthority, Node, csr
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


class Reconciling(TrackedCase):
    def lost(self) -> tuple[Deferred[Any], Any]:
        request = csr()
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(request)
        answer.addErrback(lambda _: None)
        return answer, request

    def test_what_was_issued_is_taken_over(self) -> None:
        answer, request = self.lost()
        self.tracked.found = self.tracked.issue(request)
        self.poller().start()
        assert self.successResultOf(answer).certificate is not None
        assert len(self.tracked.asked) == 1

    def test_what_waits_for_an_agent_waits_on(self) -> None:
        self.lost()
        self.tracked.found = Pending("9")
        self.poller().start()
        (row,) = self.node.rows()
        assert (row.state, row.request_id, row.reason) == (State.PENDING, "9", None)

    def test_what_was_refused_is_refused(self) -> None:
        self.lost()
        self.tracked.found = Refused("no")
        self.poller().start()
        assert self.node.states() == [State.REJECTED]

    def test_absence_is_believed_after_the_settling_time_only(self) -> None:
        self.lost()
        self.poller().start()
        self.clock.pump([INTERVAL] * 5)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.pump([INTERVAL] * 2)
        assert self.node.states() == [State.RECEIVED]
        assert len(self.tracked.asked) == 1

    def test_a_ca_in_trouble_starts_the_settling_time_anew(self) -> None:
        self.lost()
        self.poller().start()
        self.clock.pump([INTERVAL] * 5)
        self.tracked.found = trouble(Kind.BAD_ANSWER)
        self.clock.advance(INTERVAL)
        self.tracked.found = Absent()
        self.clock.pump([INTERVAL] * 6)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.pump([INTERVAL] * 2)
        assert self.node.states() == [State.RECEIVED]

    def test_a_broken_connection_only_does_not_count(self) -> None:
        self.lost()
        self.poller().start()
        self.clock.pump([INTERVAL] * 5)  # 25 of 30 seconds
        self.tracked.found = trouble(Kind.UNREACHABLE)
        self.clock.pump([INTERVAL] * 3)
        assert self.node.states() == [State.UNKNOWN]
        self.tracked.found = Absent()
        searches = self.tracked.searches
        while self.node.states() == [State.UNKNOWN]:
            self.clock.advance(INTERVAL)
            assert self.tracked.searches <= searches + 2  # one to count from, one after the seconds that were missing
        assert self.node.states() == [State.RECEIVED]

    def test_a_request_the_ca_died_over_is_free_again_after_twice_the_time(self) -> None:
        self.lost()
        self.tracked.found = InProgress("9")
        self.poller().start()
        self.clock.pump([INTERVAL] * 11)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.pump([INTERVAL] * 3)
        assert self.node.states() == [State.RECEIVED]

    def test_a_process_that_died_while_submitting_leaves_an_unknown_row(self) -> None:
        request = csr()
        self.tracked.script = [Deferred()]
        self.node.ask(request).addErrback(lambda _: None)
        self.node.broken = True
        other = self.new_node("polling-2")
        self.tracked.found = self.tracked.issue(request)
        self.poller(other).start()
        self.clock.pump([INTERVAL] * 3)
        assert other.states() == [State.SUBMITTING]
        self.clock.pump([INTERVAL] * 4)
        assert other.states() == [State.ISSUED]
        assert len(self.tracked.asked) == 1

    def test_a_process_that_certainly_died_is_not_waited_for(self) -> None:
        request = csr()
        self.tracked.script = [Deferred()]
        self.node.ask(request).addErrback(lambda _: None)
        poller = self.poller()
        poller.start()
        for node in self.nodes:
            node.broken = True
            node.close()
        successor = self.new_node("polling-2")
        self.tracked.found = self.tracked.issue(request)
        self.poller(successor).start()
        assert successor.states() == [State.ISSUED]
        assert len(self.tracked.asked) == 1

    def test_a_few_are_looked_up_at_the_same_time(self) -> None:
        for _ in range(PARALLEL + 2):
            self.lost()
        self.tracked.slow = slow = []
        self.poller().start()
        assert self.tracked.searches == PARALLEL
        self.tracked.slow = None
        for each in slow:
            each.callback(None)
        assert self.tracked.searches == PARALLEL + 2

    def test_a_ca_that_is_away_is_not_asked_after_all_of_them(self) -> None:
        for _ in range(PARALLEL * 3):
            self.lost()
        self.tracked.found = trouble(Kind.NO_ANSWER)
        self.tracked.slow = slow = []
        self.poller().start()
        for each in slow:
            each.callback(None)
        assert self.tracked.searches == PARALLEL + 1  # the first did not know yet that the second fails too
        assert self.node.states() == [State.UNKNOWN] * PARALLEL * 3

    def test_a_certificate_goes_to_the_one_that_asked_for_its_subject(self) -> None:
        key = pki.ec_key()
        mine, others = csr(key), csr(key, "CN=other")
        self.tracked.script = [trouble(Kind.NO_ANSWER)] * 2
        for request in (mine, others):
            self.node.ask(request).addErrback(lambda _: None)
        self.tracked.found = self.tracked.issue(others)
        self.poller().start()
        assert self.node.states() == [State.UNKNOWN, State.ISSUED]

    def test_a_certificate_under_a_subject_that_nobody_asked_for_is_taken(self) -> None:
        """By one of them only: a CA may make another subject than it was asked for."""
        key = pki.ec_key()
        self.tracked.script = [trouble(Kind.NO_ANSWER)] * 2
        for request in (csr(key), csr(key, "CN=other")):
            self.node.ask(request).addErrback(lambda _: None)
        self.tracked.found = self.tracked.issue(csr(key, "CN=rewritten"))
        self.poller().start()
        assert sorted(self.node.states(), key=lambda state: state.value) == [State.ISSUED, State.UNKNOWN]

    def test_what_was_approved_a_moment_ago_is_its_own_requests(self) -> None:
        key = pki.ec_key()
        waiting, lost = csr(key, "CN=waiting"), csr(key)
        self.tracked.script = [Pending("9"), trouble(Kind.NO_ANSWER)]
        self.tracked.pending.add("9")  # when the list was made
        for request in (waiting, lost):
            self.node.ask(request).addErrback(lambda _: None)
        issued = self.tracked.issue(waiting)
        self.tracked.found = self.tracked.results["9"] = issued
        self.poller().start()
        assert self.node.states() == [State.PENDING, State.UNKNOWN]
        self.tracked.pending.clear()
        self.tracked.found = Absent()
        self.clock.advance(INTERVAL)
        assert self.node.states() == [State.ISSUED, State.UNKNOWN]

    def test_ren_what_belongs_to_other_requests_for_the_key_is_not_what_was_lost(self) -> None:
        key = pki.ec_key()
        issued = self.successResultOf(self.node.ask(csr(key), BOB))
        self.tracked.script = [Pending("9"), trouble(Kind.NO_ANSWER)]
        self.tracked.pending.add("9")
        for request in (csr(key, "CN=other"), csr(key)):
            self.node.ask(request).addErrback(lambda _: None)
        self.poller().start()
        assert self.tracked.known == {"9", issued.enrollment.serial}

    def test_a_new_process_leaves_out_the_certificates_that_others_got(self) -> None:
        issued = self.successResultOf(self.node.ask(csr()))
        self.lost()
        self.poller(self.new_node("polling-2")).start()
        assert self.tracked.known == {issued.enrollment.serial}

    def test_nothing_is_taken_over_while_another_request_for_the_key_is_on_its_way(self) -> None:
        _, request = self.lost()
        on_its_way = Deferred[Outcome]()
        self.tracked.script = [on_its_way]
        self.node.ask(request, BOB).addErrback(lambda _: None)
        self.poller().start()
        assert self.tracked.searches == 0
        on_its_way.callback(self.tracked.issue(request))
        self.clock.advance(INTERVAL)
        assert self.tracked.searches == 1
        assert self.tracked.known == {self.node.rows()[0].serial}

    def test_a_key_that_is_not_asked_for_is_not_found(self) -> None:
        self.lost()
        self.tracked.found = self.tracked.issue(csr(pki.ec_key()))
        self.poller().start()
        assert self.node.states() == [State.UNKNOWN]
