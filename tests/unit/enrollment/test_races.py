"""What happens when processes are suspended, killed, cut off from the store or outrun by others, step by step."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from kipuka.authority.interface import Absent, Finding, Outcome, Pending
from kipuka.enrollment.ledger.ledger import BEAT, DEAD
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import Kind
from kipuka.store.rows import Enrollment, State
from kipuka.store.store import StoreUnavailable
from tests.support import pki
from tests.unit.enrollment.office import BOB, Node, csr, der
from tests.unit.enrollment.test_polling import INTERVAL, SETTLE, TrackedCase
from tests.unit.enrollment.test_registration import Case, trouble


class Races(Case):
    """Two nodes; the second is there to do things behind the first one's back."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.new_node("node-2")

    def happen(self, node: Node, event: Event, row: Enrollment | None = None) -> None:
        """Let something happen to the one row, or the one given."""
        if row is None:
            (row,) = node.rows()
        assert self.successResultOf(Deferred.fromCoroutine(node.ledger.happen(event, row))) is not None

    def given_up(self) -> None:
        """The second node takes the first for dead, looks the request up at the CA, and finds nothing."""
        self.happen(self.other, Event.LOST)
        self.happen(self.other, Event.ABSENT)


class Suspended(Races):
    """A process that stands still (SIGSTOP, a virtual machine that is moved) and goes on as if nothing had happened."""

    def test_it_does_not_undo_the_submission_that_was_made_in_its_place(self) -> None:
        key = pki.ec_key()
        self.node.hold(2)  # joining and taking the row, which is on disk before the process stops
        first = self.node.ask(csr(key))
        self.given_up()
        self.ca.script = [Deferred()]
        second = self.other.ask(csr(key))
        self.clock.advance(DEAD.total_seconds())
        self.node.go_on()
        assert self.node.states() == [State.SUBMITTING]
        assert len(self.ca.asked) == 1
        self.assertNoResult(first)
        self.assertNoResult(second)

    def test_the_ca_is_told_until_when_the_request_may_be_sent(self) -> None:
        self.successResultOf(self.node.ask(csr()))
        assert self.ca.asked[0].send_before == self.clock.seconds() + 30

    def test_its_late_refusal_says_nothing_of_the_submission_that_was_made_in_its_place(self) -> None:
        for kind in (Kind.REFUSED, Kind.NO_ANSWER):
            key, answers = pki.ec_key(), [Deferred[Outcome](), Deferred[Outcome]()]
            self.ca.script = list(answers)
            self.node.ask(csr(key)).addErrback(lambda _: None)
            row = self.node.rows()[0]
            self.happen(self.other, Event.LOST, row)
            self.happen(self.other, Event.ABSENT, row)
            second = self.other.ask(csr(key))
            answers[0].errback(trouble(kind))
            assert self.node.states()[-1] is State.SUBMITTING
            answers[1].callback(self.ca.issue(csr(key)))
            assert self.successResultOf(second).certificate is not None

    def test_its_late_certificate_is_taken_while_nobody_has_submitted_again(self) -> None:
        key, answer = pki.ec_key(), Deferred[Outcome]()
        self.ca.script = [answer]
        first = self.node.ask(csr(key))
        self.given_up()
        assert self.node.states() == [State.RECEIVED]
        answer.callback(self.ca.issue(csr(key)))
        certificate = self.successResultOf(first).certificate
        assert der(self.successResultOf(self.other.ask(csr(key))).certificate) == der(certificate)
        assert len(self.ca.asked) == 1

    def test_its_late_pending_is_taken_while_nobody_has_submitted_again(self) -> None:
        answer = Deferred[Outcome]()
        self.ca.script = [answer]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.given_up()
        answer.callback(Pending("17"))
        (row,) = self.node.rows()
        assert (row.state, row.request_id) == (State.PENDING, "17")

    def test_a_certificate_that_can_reach_nobody_is_named_in_the_log(self) -> None:
        key, answers = pki.ec_key(), [Deferred[Outcome](), Deferred[Outcome]()]
        self.ca.script = list(answers)
        self.node.ask(csr(key)).addErrback(lambda _: None)
        self.given_up()
        self.other.ask(csr(key)).addErrback(lambda _: None)
        surplus = self.ca.issue(csr(key))
        with capturedLogs() as events:
            answers[0].callback(surplus)
        (said,) = [text for text in map(formatEvent, events) if "reaches nobody" in text]
        assert f"0x{surplus.certificate.serial_number:x}" in said
        assert self.node.states() == [State.SUBMITTING]


class LookedUp(TrackedCase):
    """A lost answer, and what may not be taken for proof that the CA has nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        self.request = csr()
        self.node.ask(self.request).addErrback(lambda _: None)

    def test_a_look_up_that_was_overtaken_proves_nothing(self) -> None:
        """The process is suspended while its look-up is under way, and goes on long after with what it found then."""
        self.poller().start()
        self.clock.advance(INTERVAL)
        found = Deferred[Finding]()
        self.tracked.found = found
        self.clock.advance(INTERVAL)
        self.clock.advance(SETTLE * 10)
        found.callback(Absent())
        assert self.node.states() == [State.UNKNOWN]

    def test_time_in_which_everything_stood_still_is_not_counted(self) -> None:
        self.poller().start()
        self.clock.advance(INTERVAL)
        self.clock.advance(3600)  # a host that sleeps, CA and all; or a clock that is put forward
        assert self.node.states() == [State.UNKNOWN]
        self.clock.advance(INTERVAL)
        assert self.node.states() == [State.UNKNOWN]
        self.clock.pump([INTERVAL] * 2)
        assert self.node.states() == [State.RECEIVED]

    def test_what_was_submitted_for_the_same_key_during_the_look_up_is_not_taken(self) -> None:
        found, on_its_way = Deferred[Finding](), Deferred[Outcome]()
        self.tracked.found = found
        self.poller().start()
        self.tracked.script = [on_its_way]
        bobs = self.node.ask(self.request, BOB)
        certificate = self.tracked.issue(self.request)
        found.callback(certificate)
        assert self.node.states() == [State.UNKNOWN, State.SUBMITTING]
        self.tracked.found = found = Deferred()
        on_its_way.callback(certificate)
        assert der(self.successResultOf(bobs).certificate) == der(certificate.certificate)
        self.clock.advance(INTERVAL)
        found.callback(certificate)  # a CA that does not heed what it is told to leave out
        assert self.node.states() == [State.UNKNOWN, State.ISSUED]

    def test_one_row_that_cannot_be_looked_up_does_not_keep_the_others_from_it(self) -> None:
        for number, kind in enumerate((Kind.NO_ANSWER, Kind.BAD_ANSWER, Kind.BUSY), 1):
            self.tracked.script = [trouble(Kind.NO_ANSWER)]
            self.node.ask(csr()).addErrback(lambda _: None)
            self.tracked.fails_for = {self.node.rows()[-1].application.public_key: trouble(kind)}
            poller = self.poller()
            poller.start()
            self.clock.pump([INTERVAL] * 30)
            assert self.node.states() == [State.UNKNOWN] + [State.RECEIVED] * number
            self.successResultOf(Deferred.fromCoroutine(poller.stop()))

    def test_look_ups_that_fail_do_not_slow_down_the_list_of_what_is_pending(self) -> None:
        self.pending("7")
        self.tracked.found = trouble(Kind.NO_ANSWER)
        self.poller().start()
        self.clock.pump([INTERVAL] * 10)
        assert self.tracked.lists == 11


class Unconfirmed(TrackedCase):
    """The connection to the store is lost after it has done what it was told, before it could say so."""

    def test_a_row_that_was_taken_without_anybody_knowing_is_not_stuck(self) -> None:
        request = csr()
        self.node.hold(2)  # joining and taking
        answer = self.node.ask(request)
        self.node.go_on(unconfirmed=True)
        assert self.kind_of(answer) is Kind.UNREACHABLE
        assert (self.node.states(), self.tracked.asked) == ([State.SUBMITTING], [])
        self.poller().start()
        self.clock.pump([BEAT] * 20)
        assert self.node.states() == [State.RECEIVED]
        assert self.successResultOf(self.node.ask(request)).certificate is not None
        assert self.told() == [Event.TAKEN, Event.LOST, Event.ABSENT, Event.TAKEN, Event.GRANTED]

    def test_a_row_that_is_being_submitted_is_left_alone_however_long_it_takes(self) -> None:
        self.tracked.script = [Deferred()]
        request = csr()
        for _ in range(2):
            self.node.ask(request).addErrback(lambda _: None)
        self.poller().start()
        self.clock.pump([BEAT] * 20)
        assert self.node.states() == [State.SUBMITTING]

    def test_what_was_noted_without_anybody_knowing_is_answered(self) -> None:
        request = csr()
        self.node.hold(3)  # joining, taking, and noting the certificate
        answer = self.node.ask(request)
        self.node.go_on(unconfirmed=True)
        self.assertNoResult(answer)
        self.clock.advance(1)
        assert self.successResultOf(answer).certificate is not None
        assert (self.node.states(), len(self.tracked.asked)) == ([State.ISSUED], 1)

    def test_what_a_poller_noted_without_anybody_knowing_is_told_once(self) -> None:
        answer, request = self.pending("7")
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(request)
        self.node.hold(5)  # its own rows, the lease, orphans, open rows, and noting the certificate
        self.poller().start()
        assert self.node.states() == [State.ISSUED]
        self.node.go_on(unconfirmed=True)
        assert Event.GRANTED not in self.told()
        self.clock.pump([1] * 5)
        assert self.told().count(Event.GRANTED) == 1
        assert self.successResultOf(answer).certificate is not None

    def test_what_was_not_noted_is_told_once_when_it_is(self) -> None:
        at_ca, request = Deferred[Outcome](), csr()
        self.tracked.script = [at_ca]
        answer = self.node.ask(request)
        with patch.object(self.node.store._database, "write", side_effect=StoreUnavailable("the connection was lost")):
            at_ca.callback(self.tracked.issue(request))
            self.clock.pump([1] * 5)
            assert self.kind_of(answer) is Kind.UNDECIDED
            assert self.told() == [Event.TAKEN]
        self.clock.pump([1] * 5)
        assert self.told() == [Event.TAKEN, Event.GRANTED]
        assert self.node.ledger._doubts == []

    def test_what_was_noted_without_anybody_knowing_is_told_before_the_row_changes_again(self) -> None:
        at_ca, request = Deferred[Outcome](), csr()
        self.tracked.script = [at_ca]
        self.node.ask(request).addErrback(lambda _: None)
        self.node.hold(1)
        at_ca.errback(trouble(Kind.MISCONFIGURED))
        self.node.go_on(unconfirmed=True)
        assert self.node.states() == [State.RECEIVED]
        self.clock.advance(0.1)  # joined again, before the ledger looks
        assert self.successResultOf(self.node.ask(request)).certificate is not None
        assert self.told() == [Event.TAKEN, Event.NOT_SENT, Event.TAKEN, Event.GRANTED]

    def told(self) -> list[Event]:
        return [event for event, _ in self.node.events]


class Listed(TrackedCase):
    def test_all_are_asked_after_in_turn_when_the_list_is_always_cut_short(self) -> None:
        for number in range(40):
            self.pending(str(number))
        answer, request = self.pending("40")
        self.tracked.pending.clear()
        self.tracked.complete = False
        self.tracked.results["40"] = self.tracked.issue(request)
        self.poller().start()
        self.clock.pump([INTERVAL] * 2)
        assert self.successResultOf(answer).certificate is not None

    def test_a_store_that_fails_amid_a_round_is_no_traceback_and_not_the_end(self) -> None:
        answers = []
        for number in ("7", "8"):
            answer, request = self.pending(number)
            answers.append(answer)
            self.tracked.results[number] = self.tracked.issue(request)
        self.tracked.pending.clear()
        self.node.hold(4)  # the loops' first calls are over: own rows, lease, orphans, what is open
        self.poller().start()
        self.node.broken = True
        self.node.go_on()
        self.node.broken = False
        assert self.node.states() == [State.PENDING] * 2
        self.clock.advance(INTERVAL)
        assert all(self.successResultOf(answer).certificate for answer in answers)


class Watching(TrackedCase):
    """A client that waits at one node for what happens at another."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.new_node("node-2")
        self.answer, self.request = self.pending("7")
        self.tracked.pending.clear()
        self.tracked.results["7"] = self.tracked.issue(self.request)

    def granted_at_the_other(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.poller(self.other).round()))

    def test_what_happened_while_this_node_could_not_see_the_store_is_seen_afterwards(self) -> None:
        self.node.broken = True
        self.clock.pump([1] * 3)
        self.granted_at_the_other()
        self.clock.pump([1] * 20)
        self.assertNoResult(self.answer)
        self.node.broken = False
        self.clock.advance(1)
        assert self.successResultOf(self.answer).certificate is not None

    def test_a_clock_that_is_behind_hides_nothing_when_the_time_is_over(self) -> None:
        behind = Clock()
        behind.advance(self.clock.seconds() - 60)
        self.other.ledger._clock = behind
        self.granted_at_the_other()
        self.clock.pump([1] * 59)
        self.assertNoResult(self.answer)
        self.clock.advance(1)
        assert self.successResultOf(self.answer).certificate is not None


class Reconfigured(TrackedCase):
    def test_a_row_is_looked_for_at_the_ca_that_it_was_sent_to(self) -> None:
        """It was written down for one CA, came back unsent, and its label has another CA since."""
        request = csr()
        self.tracked.script = [trouble(Kind.BUSY), trouble(Kind.NO_ANSWER)]
        assert self.kind_of(self.node.ask(request)) is Kind.BUSY
        self.tracked.id = "another"
        self.node.ask(request).addErrback(lambda _: None)
        (row,) = self.node.rows()
        assert (row.state, row.application.ca_id) == (State.UNKNOWN, "another")
        self.tracked.found = self.tracked.issue(request)
        self.poller().start()
        assert self.node.states() == [State.ISSUED]
