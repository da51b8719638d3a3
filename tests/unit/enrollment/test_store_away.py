"""The store goes away while a request is at the CA: its client is told, and what the CA said is written down later."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kipuka.authority.interface import Outcome, Pending
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import State
from tests.unit.enrollment.case import Case, trouble
from tests.unit.enrollment.office import csr


class Away(Case):
    """Nobody is kept waiting for a store that may be away for hours."""

    def setUp(self) -> None:
        super().setUp()
        self.request, self.at_ca = csr(), Deferred[Outcome]()
        self.ca.script = [self.at_ca]
        self.answer = self.node.ask(self.request)
        self.node.broken = True

    def back(self) -> None:
        self.clock.pump([60] * 60)
        self.node.broken = False
        self.clock.advance(1)

    def test_the_cas_word_is_written_down_when_the_store_is_back(self) -> None:
        self.at_ca.callback(self.ca.issue(self.request))
        self.assertNoResult(self.answer)  # it may have been but a moment
        self.clock.advance(1)
        assert self.kind_of(self.answer) is Kind.UNDECIDED
        assert self.kind_of(self.node.ask(self.request)) is Kind.UNREACHABLE
        self.back()
        assert self.node.states() == [State.ISSUED]
        assert self.successResultOf(self.node.ask(self.request)).certificate is not None
        assert len(self.ca.asked) == 1

    def test_whatever_the_ca_says_the_client_is_told(self) -> None:
        outcomes: list[tuple[Any, Kind, State]] = [
            (Pending("17"), Kind.UNDECIDED, State.PENDING),
            (trouble(Kind.REFUSED), Kind.UNDECIDED, State.REJECTED),
            (trouble(Kind.NO_ANSWER), Kind.UNDECIDED, State.UNKNOWN),
            (trouble(Kind.BUSY), Kind.UNREACHABLE, State.RECEIVED),
            (ValueError("unforeseen"), Kind.UNDECIDED, State.UNKNOWN),
        ]
        for outcome, told, state in outcomes:
            at_ca = Deferred[Any]()
            self.node.broken, self.ca.script = False, [at_ca]
            answer = self.node.ask(csr())
            self.node.broken = True
            at_ca.callback(outcome)
            self.clock.advance(1)
            assert self.kind_of(answer) is told
            self.back()
            assert self.node.states()[-1] is state
        assert len(self.flushLoggedErrors(ValueError)) == 1

    def test_nothing_is_submitted_again_for_a_client_that_was_told(self) -> None:
        self.at_ca.errback(trouble(Kind.UNREACHABLE))  # which is tried again for whoever waits
        self.clock.advance(1)
        assert self.kind_of(self.answer) is Kind.UNREACHABLE
        self.back()
        assert (self.node.states(), len(self.ca.asked)) == ([State.RECEIVED], 1)
        assert not self.node.ledger.in_hand

    def test_what_could_not_be_audited_either_is_free_again_when_it_is_back(self) -> None:
        auditing = Deferred[None]()
        self.patch(self.node.ledger, "attest", lambda *_: auditing)
        self.node.broken = False
        answer = self.node.ask(csr())
        self.node.broken = True
        auditing.errback(trouble(Kind.UNREACHABLE))
        self.clock.advance(1)
        error = self.failureResultOf(answer, AuthorityError).value
        assert (error.kind, "write requests down" in error.text) == (Kind.UNREACHABLE, True)
        self.back()
        assert (self.node.states()[-1], len(self.ca.asked)) == (State.RECEIVED, 1)
