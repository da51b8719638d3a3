"""One certificate for each request, over a pool whose members come and go."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kipuka.authority.interface import Absent, InProgress, Outcome, Pending, Refused
from kipuka.authority.pool.choice import RoundRobin
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.registration import Times
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.office import BOB, Node, csr
from tests.unit.enrollment.test_registration import Case
from tests.unit.pool.cas import Group, gone, issued, trouble

INTERVAL, SETTLE = 5.0, 15.0
STALLED = trouble(Kind.NO_ANSWER)


class PoolCase(Case):
    """Two members, a and b, active-passive, and a poller for each."""

    def setUp(self) -> None:
        super().setUp()
        self.group = Group(self.clock)
        self.a, self.b = self.group.cas
        self.ca = self.group.pool  # type: ignore[assignment]
        self.node = self.new_node("pool-1")

    def poll(self, node: Node | None = None) -> None:
        for ca in self.group.cas:
            instance = self.group.pool.instance(ca.id)
            poller = Poller(instance, (node or self.node).ledger, self.clock, INTERVAL, SETTLE, lambda: 1.0)
            poller.start()
            self.addCleanup(lambda each=poller: self.successResultOf(Deferred.fromCoroutine(each.stop())))

    def asked(self) -> tuple[int, int]:
        return len(self.a.asked), len(self.b.asked)

    def lost(self, request: Any = None) -> Deferred[Any]:
        """A request whose answer from a was lost; its client still waits."""
        self.a.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(request or csr())
        answer.addErrback(lambda failure: failure.trap(AuthorityError) and failure.value)
        return answer

    def pump(self, seconds: float) -> None:
        self.clock.pump([INTERVAL] * int(seconds / INTERVAL))


class Failover(PoolCase):
    def test_the_row_names_the_ca_it_goes_to_before_anything_is_sent(self) -> None:
        seen: list[tuple[str, State]] = []

        def note() -> None:
            (row,) = self.new_node("other").rows()
            seen.append((row.application.ca_id, row.state))

        self.a.on_call = self.b.on_call = note
        self.a.script = [gone()]
        assert self.successResultOf(self.node.ask(csr())).certificate is not None
        assert seen == [("a", State.SUBMITTING), ("b", State.SUBMITTING)]

    def test_what_was_certainly_not_sent_goes_to_the_next_at_once(self) -> None:
        for kind in (Kind.UNREACHABLE, Kind.BUSY, Kind.MISCONFIGURED):
            before = self.asked()
            self.a.script = [trouble(kind)]
            assert self.successResultOf(self.node.ask(csr())).certificate is not None
            assert self.asked() == (before[0] + 1, before[1] + 1)
        events = [event for event, _ in self.node.events]
        assert events == [Event.TAKEN, Event.NOT_SENT, Event.TAKEN, Event.GRANTED] * 3

    def test_each_member_is_tried_once_and_then_the_client_is_told(self) -> None:
        self.a.script, self.b.script = [gone()], [gone()]
        assert self.kind_of(self.node.ask(csr())) is Kind.UNREACHABLE
        assert self.asked() == (1, 1)
        assert self.node.states() == [State.RECEIVED]

    def test_trouble_that_passes_is_told_rather_than_trouble_that_does_not(self) -> None:
        for a, b in ((Kind.UNREACHABLE, Kind.MISCONFIGURED), (Kind.MISCONFIGURED, Kind.BUSY)):
            self.a.script, self.b.script = [trouble(a)], [trouble(b)]
            assert self.kind_of(self.node.ask(csr())) in (Kind.UNREACHABLE, Kind.BUSY)

    def test_a_requests_own_fault_is_not_tried_elsewhere(self) -> None:
        for kind in (Kind.INVALID, Kind.TOO_LARGE, Kind.REFUSED):
            self.a.script = [trouble(kind)]
            assert self.kind_of(self.node.ask(csr())) is kind
        assert self.asked() == (3, 0)

    def test_what_cannot_be_audited_goes_to_nobody(self) -> None:
        attested: list[Event] = []

        async def attest(event: Event, *_: object) -> None:
            attested.append(event)
            raise trouble(Kind.UNREACHABLE)

        self.patch(self.node.ledger, "attest", attest)
        assert self.kind_of(self.node.ask(csr())) is Kind.UNREACHABLE
        assert attested == [Event.TAKEN]
        assert self.asked() == (0, 0)
        assert self.node.states() == [State.RECEIVED]

    def test_for_a_client_that_has_gone_nobody_else_is_tried(self) -> None:
        first_try = Deferred[Outcome]()
        self.a.script = [first_try]
        answer = self.node.ask(csr())
        answer.cancel()
        answer.addErrback(lambda _: None)
        first_try.errback(gone())
        assert self.asked() == (1, 0)
        assert self.node.states() == [State.RECEIVED]

    def test_what_may_have_been_sent_goes_nowhere_else(self) -> None:
        for kind in (Kind.NO_ANSWER, Kind.BAD_ANSWER):
            self.a.script = [trouble(kind)]
            self.node.ask(csr()).addErrback(lambda _: None)
        assert self.asked() == (2, 0)
        assert self.node.states() == [State.UNKNOWN] * 2

    def test_with_all_away_nothing_is_taken_and_the_client_is_told_at_once(self) -> None:
        for position in range(2):
            self.group.break_down(position, gone())
        assert self.kind_of(self.node.ask(csr())) is Kind.UNREACHABLE
        assert self.asked() == (0, 0)
        assert self.node.events == []

    def test_a_repetition_that_comes_during_the_failover_joins_it(self) -> None:
        key, first_try = pki.ec_key(), Deferred[Outcome]()
        self.a.script = [first_try]
        first, second = self.node.ask(csr(key)), self.node.ask(csr(key))
        first_try.errback(gone())
        one, two = self.successResultOf(first), self.successResultOf(second)
        assert one.certificate == two.certificate
        assert sum(self.asked()) == 2  # one failed, one issued

    def test_load_is_spread_over_both(self) -> None:
        self.group = Group(self.clock, choice=RoundRobin())
        self.ca = self.group.pool  # type: ignore[assignment]
        node = self.new_node("pool-2")
        for _ in range(20):
            self.successResultOf(node.ask(csr()))
        assert [len(ca.asked) for ca in self.group.cas] == [10, 10]


class Lost(PoolCase):
    """The primary dies with a request in flight."""

    def test_what_it_issued_is_found_at_the_clone(self) -> None:
        for away in (gone(), STALLED, trouble(Kind.MISCONFIGURED)):
            request = csr()
            answer = self.lost(request)
            self.a.away, self.b.finding = away, issued(request)
            self.poll() if away.connection_refused else self.pump(INTERVAL * 4)
            assert self.successResultOf(answer).certificate == self.b.finding.certificate
            self.a.away, self.b.finding = None, Absent()
        assert self.asked() == (3, 0)

    def test_what_waits_for_an_agent_is_collected_at_the_clone(self) -> None:
        request = csr()
        answer = self.lost(request)
        self.a.away, self.b.finding = gone(), Pending("9")
        self.b.pending = frozenset({"9"})
        self.poll()
        (row,) = self.node.rows()
        assert (row.state, row.request_id, row.application.ca_id) == (State.PENDING, "9", "a")
        self.b.pending, self.b.standing = frozenset(), issued(request)
        self.pump(INTERVAL)
        assert self.successResultOf(answer).certificate is not None

    def test_a_refusal_is_taken_over_from_the_clone(self) -> None:
        answer = self.lost()
        self.a.away, self.b.finding = gone(), Refused("no")
        self.poll()
        error = self.successResultOf(answer)
        assert isinstance(error, AuthorityError)
        assert error.kind is Kind.REFUSED

    def test_when_its_process_is_gone_the_clones_nothing_is_believed_after_the_settling_time(self) -> None:
        answer = self.lost()
        self.group.break_down(0, gone())
        self.poll()
        self.pump(SETTLE - INTERVAL)
        assert self.asked() == (1, 0)
        self.pump(2 * INTERVAL)
        assert self.asked() == (1, 1)
        assert self.successResultOf(answer).certificate is not None

    def test_what_it_died_over_takes_twice_that(self) -> None:
        self.lost()
        self.group.break_down(0, gone())
        self.b.finding = InProgress("9")
        self.poll()
        self.pump(2 * SETTLE - INTERVAL)
        assert self.node.states() == [State.UNKNOWN]
        self.pump(3 * INTERVAL)
        assert self.node.states() == [State.RECEIVED]

    def test_a_client_whose_request_is_lost_again_and_again_is_told_in_the_end(self) -> None:
        """The time that is meant for one CA's death does not begin anew each time."""
        self.patch(self.node.registration, "_times", Times(answer=4 * SETTLE))
        self.a.script = [trouble(Kind.BAD_ANSWER) for _ in range(100)]  # as with 500 for this very CSR
        self.poll()
        answer = self.node.ask(csr())
        self.pump(4 * SETTLE)
        assert self.kind_of(answer) is Kind.UNDECIDED
        times = len(self.a.asked)
        assert 2 <= times <= 4
        self.pump(20 * SETTLE)
        assert len(self.a.asked) == times

    def test_while_it_may_go_on_the_clones_nothing_proves_nothing_however_long(self) -> None:
        for away in (STALLED, trouble(Kind.UNREACHABLE), trouble(Kind.BAD_ANSWER)):
            request = csr()
            self.lost(request)
            self.group.break_down(0, away)
            if away is STALLED:
                self.poll()
            self.pump(10 * SETTLE)
            assert self.node.rows()[0].state is State.UNKNOWN
            self.a.away, self.a.finding = None, issued(request)  # it goes on, and does what it had read
            self.group.probe(0)
            self.group.probe(0)
            self.pump(2 * INTERVAL)
            assert self.node.rows()[0].state is State.ISSUED
        assert self.asked() == (3, 0)

    def test_a_stall_between_makes_the_settling_time_begin_anew(self) -> None:
        self.lost()
        self.a.away = gone()
        self.poll()
        self.pump(SETTLE - INTERVAL)
        self.a.away = STALLED  # its port was taken by a new process that stands still: it has the old one's requests
        self.pump(INTERVAL)
        self.a.away = gone()
        self.pump(SETTLE)
        assert self.node.states() == [State.UNKNOWN]
        self.pump(2 * INTERVAL)
        assert self.node.states() == [State.RECEIVED]

    def test_what_another_row_got_from_the_clone_for_the_same_key_is_not_taken(self) -> None:
        key = pki.ec_key()
        self.lost(csr(key))
        self.group.break_down(0, gone())
        other = self.successResultOf(self.node.ask(csr(key), BOB))
        assert other.enrollment.application.ca_id == "b"
        found: list[frozenset[str]] = []
        find = self.b.find

        async def spy(public_key: str, subject: str, since: Any, known: frozenset[str]) -> Any:
            found.append(known)
            return await find(public_key, subject, since, known)

        self.b.find = spy  # type: ignore[method-assign]
        self.poll()
        assert found == [frozenset({other.enrollment.serial})]

    def test_many_lost_requests_are_all_looked_up_at_the_clone_while_the_primary_stalls(self) -> None:
        self.a.script = [trouble(Kind.NO_ANSWER)] * 3
        answers = [self.node.ask(csr()) for _ in range(3)]
        self.group.break_down(0, STALLED)
        self.poll()
        assert (self.a.calls.count("find"), self.b.calls.count("find")) == (0, 3)
        self.pump(INTERVAL)
        assert (self.a.calls.count("find"), self.b.calls.count("find")) == (0, 6)
        for answer in answers:
            self.assertNoResult(answer)
            answer.addErrback(lambda _: None)
