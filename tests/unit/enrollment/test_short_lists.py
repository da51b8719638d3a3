"""Dogtag's lists are cut without a word: one that lacks a request that is pending proves nothing."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from kipuka.authority.interface import Absent, InProgress, Pending
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.registration import Registration, Times
from kipuka.errors import Kind
from kipuka.store.rows import State
from tests.support import pki
from tests.support.dogtag.standin import StandIn
from tests.unit.enrollment.office import Node, csr
from tests.unit.enrollment.test_polling import INTERVAL, SETTLE
from tests.unit.enrollment.test_reconciliation import LostCase
from tests.unit.enrollment.test_registration import Case, trouble


class ShortLists(LostCase):
    def setUp(self) -> None:
        super().setUp()
        answer, _ = self.pending("7")
        answer.addErrback(lambda _: None)
        self.tracked.pending.clear()
        self.tracked.results["7"] = Pending("7")
        self.lost()

    def warnings(self, rounds: int) -> list[str]:
        with capturedLogs() as events:
            self.clock.pump([INTERVAL] * rounds)
        return [formatEvent(each) for each in events if each["log_level"] is LogLevel.warn]

    def test_what_is_not_found_is_not_absent(self) -> None:
        for found in (Absent(), InProgress("9")):
            self.tracked.found = found
            self.poller().start()
            self.clock.pump([INTERVAL] * 20)
            assert self.node.states() == [State.PENDING, State.UNKNOWN]

    def test_it_is_said_once_a_round_and_what_to_do(self) -> None:
        self.poller().start()
        said = self.warnings(3)
        assert len(said) == 3
        assert "lacks 1 that are pending by its own word" in said[0]
        assert "raise the limits" in said[0]

    def test_what_is_found_is_taken_over(self) -> None:
        self.tracked.found = Pending("9")
        self.poller().start()
        assert self.node.states() == [State.PENDING, State.PENDING]

    def test_time_with_short_lists_does_not_count_and_ends_nothing(self) -> None:
        self.tracked.pending.add("7")
        self.poller().start()
        self.clock.pump([INTERVAL] * 4)  # 20 of 30 seconds
        self.tracked.pending.clear()
        self.clock.pump([INTERVAL] * 10)
        assert self.node.states() == [State.PENDING, State.UNKNOWN]
        self.tracked.pending.add("7")
        assert self.warnings(1) == []
        assert self.node.states() == [State.PENDING, State.UNKNOWN]
        self.clock.pump([INTERVAL] * 2)
        assert self.node.states() == [State.PENDING, State.RECEIVED]

    def test_a_list_that_says_itself_that_it_was_cut_says_nothing_of_others(self) -> None:
        self.tracked.complete = False
        self.poller().start()
        assert self.warnings(7) == []
        assert self.node.states() == [State.PENDING, State.RECEIVED]

    def test_without_a_witness_there_is_no_doubt(self) -> None:
        self.poller().start()
        witness = self.node.rows()[-1]
        self.successResultOf(Deferred.fromCoroutine(self.node.ledger.happen(Event.ABANDONED, witness)))
        self.clock.pump([INTERVAL] * 9)
        assert self.node.states() == [State.CLOSED, State.RECEIVED]


class CutAt(LostCase):
    """A list lacked one that was pending: at its length others may be cut when nothing shows it."""

    def setUp(self) -> None:
        super().setUp()
        answer, self.witness = self.pending("7")
        answer.addErrback(lambda _: None)
        self.tracked.pending = {"1", "2", "3"}
        self.tracked.results["7"] = Pending("7")
        self.lost()
        self.first = self.poller()
        self.first.start()
        self.clock.advance(INTERVAL)

    def approve_witness(self) -> None:
        self.tracked.results["7"] = self.tracked.issue(self.witness)
        self.clock.advance(INTERVAL)

    def lost_is(self) -> State:
        return self.node.states()[-1]

    def test_no_list_of_that_length_is_believed_when_the_witness_is_gone(self) -> None:
        self.tracked.found = Absent(longest_list=3)
        self.approve_witness()
        with capturedLogs() as events:
            self.clock.pump([INTERVAL] * 20)
        assert self.lost_is() is State.UNKNOWN
        (said,) = {formatEvent(each) for each in events if each["log_level"] is LogLevel.warn}
        assert "1 lost requests are not found, and stay unknown: its lists are as long as one that was cut" in said
        self.tracked.found = InProgress("9", longest_list=3)
        self.clock.pump([INTERVAL] * 20)
        assert self.lost_is() is State.UNKNOWN

    def test_all_are_counted_that_were_looked_up_at_the_same_time(self) -> None:
        self.tracked.found = Absent(longest_list=3)
        self.approve_witness()
        for _ in range(2):
            self.lost()
        self.tracked.slow = []
        with capturedLogs() as events:
            self.clock.advance(INTERVAL)
            for each in self.tracked.slow:
                each.callback(None)
        self.tracked.slow = None
        (said,) = [formatEvent(each) for each in events if each["log_level"] is LogLevel.warn]
        assert "3 lost requests are not found" in said

    def test_others_are(self) -> None:
        self.approve_witness()
        for longest in (2, 4):
            self.tracked.found = Absent(longest_list=longest)
            self.clock.pump([INTERVAL] * 7)
            assert self.lost_is() is State.RECEIVED
            self.lost()

    def test_a_longer_one_that_lacks_nobody_ends_the_doubt(self) -> None:
        self.tracked.found = Absent(longest_list=4)
        self.tracked.pending.add("7")
        self.clock.pump([INTERVAL] * 8)
        assert self.lost_is() is State.RECEIVED

    def test_a_longer_one_with_a_witness_that_nobody_can_ask_after_ends_nothing(self) -> None:
        self.tracked.found = Absent(longest_list=3)
        self.tracked.pending.add("4")
        with patch.object(self.tracked, "progress", side_effect=trouble(Kind.NO_ANSWER)):
            self.clock.advance(INTERVAL)
        self.tracked.pending.remove("4")
        self.approve_witness()
        self.clock.pump([INTERVAL] * 20)
        assert self.lost_is() is State.UNKNOWN

    def test_who_polls_after_a_reload_knows_it_too(self) -> None:
        self.tracked.found = Absent(longest_list=3)
        self.successResultOf(Deferred.fromCoroutine(self.first.stop()))
        self.poller().start(self.first)
        self.approve_witness()
        self.clock.pump([INTERVAL] * 20)
        assert self.lost_is() is State.UNKNOWN

    def test_nothing_is_cut_at_the_length_of_an_empty_list(self) -> None:
        self.tracked.pending.clear()
        self.clock.advance(INTERVAL)
        self.approve_witness()
        self.clock.pump([INTERVAL] * 7)
        assert self.lost_is() is State.RECEIVED


class AtADogtag(Case):
    def setUp(self) -> None:
        super().setUp()
        self.dogtag = StandIn(clock=self.clock)
        self.node = Node(self.folder, self.dogtag.authority(), self.clock, "dogtag")
        self.addCleanup(self.node.close)
        times = Times(approval=0, answer=0, replay=600)
        self.node.registration = Registration(
            self.node.submitter, self.node.ledger, times, label="lab", profile="kipukaServerManual"
        )
        for number in range(5):
            self.ask(csr(subject=f"CN={number}"))
        self.dogtag.size_limit = 3
        self.key = pki.ec_key()
        self.dogtag.lose_next()
        self.ask(csr(self.key))
        assert self.node.states()[-1] is State.UNKNOWN
        poller = Poller(self.node.submitter.authority, self.node.ledger, self.clock, INTERVAL, SETTLE, lambda: 1.0)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(poller.stop())))
        poller.start()
        self.clock.pump([INTERVAL] * 20)

    def ask(self, request: Any) -> None:
        self.node.ask(request).addErrback(lambda _: None)

    def submissions(self) -> int:
        return sum(each.public_key() == self.key.public_key() for each in self.dogtag.csrs.values())

    def test_a_request_that_a_limit_keeps_from_the_lists_is_not_submitted_again(self) -> None:
        self.ask(csr(self.key))
        assert self.submissions() == 1
        self.dogtag.size_limit = 100
        self.clock.advance(INTERVAL)
        assert self.node.states() == [State.PENDING] * 6

    def test_nor_when_those_have_been_approved_that_showed_the_limit(self) -> None:
        for row in self.node.rows():
            if row.application.subject in ("CN=3", "CN=4"):
                self.dogtag.approve(int(row.request_id or ""))
        self.clock.pump([INTERVAL] * 20)
        assert self.node.states() == [State.PENDING] * 3 + [State.ISSUED] * 2 + [State.UNKNOWN]
        self.ask(csr(self.key))
        assert self.submissions() == 1
        self.dogtag.size_limit = 100
        self.clock.advance(INTERVAL)
        assert self.node.states()[-1] is State.PENDING
