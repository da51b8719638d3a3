"""What becomes of requests whose answer was lost."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kipuka.authority.interface import Absent, InProgress, Outcome, Pending, Refused
from kipuka.enrollment.reconciliation import PARALLEL
from kipuka.errors import Kind
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.office import ALICE, BOB, csr
from tests.unit.enrollment.test_polling import INTERVAL, TrackedCase
from tests.unit.enrollment.test_registration import trouble


class LostCase(TrackedCase):
    def lost(self) -> tuple[Deferred[Any], Any]:
        request = csr()
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(request)
        answer.addErrback(lambda _: None)
        return answer, request


class Reconciling(LostCase):
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

    def test_a_request_that_was_in_progress_and_is_not_found_any_more_gets_the_time_anew(self) -> None:
        self.lost()
        self.tracked.found = InProgress("9")
        self.poller().start()
        self.clock.pump([INTERVAL] * 9)  # 45 of the 60 seconds
        self.tracked.found = Absent()
        self.clock.pump([INTERVAL] * 6)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.advance(INTERVAL)
        assert self.node.states() == [State.RECEIVED]

    def test_so_it_does_when_another_process_saw_it_in_progress(self) -> None:
        self.lost()
        self.tracked.found = InProgress("9")
        poller = self.poller()
        poller.start()
        self.clock.pump([INTERVAL] * 9)
        self.successResultOf(Deferred.fromCoroutine(poller.stop()))
        assert self.node.rows()[0].unfinished == "9"
        self.tracked.found = Absent()
        self.poller().start()
        self.clock.pump([INTERVAL] * 5)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.advance(INTERVAL)
        assert [(row.state, row.unfinished) for row in self.node.rows()] == [(State.RECEIVED, None)]

    def test_what_is_in_progress_may_be_any_lost_row_s_of_the_key(self) -> None:
        request = csr()
        for caller in (ALICE, BOB):
            self.tracked.script = [trouble(Kind.NO_ANSWER)]
            self.node.ask(request, caller).addErrback(lambda _: None)
        self.tracked.found = InProgress("9")
        self.poller().start()
        self.clock.pump([INTERVAL] * 2)
        assert {row.unfinished for row in self.node.rows()} == {"9"}
        self.tracked.found = self.tracked.issue(request)
        self.clock.advance(INTERVAL)  # the first has it now
        self.tracked.found = Pending("9")
        self.clock.advance(INTERVAL)
        assert "9" not in self.tracked.known
        assert {(row.state, row.request_id, row.unfinished) for row in self.node.rows()} == {
            (State.ISSUED, None, None),
            (State.PENDING, "9", None),
        }

    def test_the_time_goes_on_when_the_ca_begins_what_it_did_not_have(self) -> None:
        self.lost()
        self.poller().start()
        self.clock.pump([INTERVAL] * 4)
        self.tracked.found = InProgress("9")
        self.clock.pump([INTERVAL] * 7)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.advance(INTERVAL)
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
