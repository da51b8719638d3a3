from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.authority.interface import Authority, CertificateStatus, ChoosesInstance, EnrollmentRequest, KnowsStatus
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.pool.choice import LeastConnections, RoundRobin
from kipuka.authority.pool.member import COMING_BACK, QUEUE
from kipuka.errors import AuthorityError, Kind
from tests.unit.enrollment.office import csr
from tests.unit.pool.cas import Group, gone, issued, run, trouble

NOBODY = frozenset[str]()


class PoolTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.group = Group(self.clock)
        self.pool = self.group.pool

    def enroll(self, instance: str | None = None, **more: Any) -> Deferred[Any]:
        request = EnrollmentRequest(csr(), None, "test", instance=instance, **more)
        return Deferred.fromCoroutine(self.pool.enroll(request))

    def kind(self, deferred: Deferred[Any]) -> Kind:
        error = self.failureResultOf(deferred, AuthorityError).value
        assert isinstance(error, AuthorityError)
        return error.kind

    def refusal(self, avoid: frozenset[str] = NOBODY) -> Kind:
        with self.assertRaises(AuthorityError) as caught:
            self.pool.choose(avoid)
        return caught.exception.kind

    def test_it_is_an_authority(self) -> None:
        pool: Authority = self.pool
        assert isinstance(pool, ChoosesInstance)
        assert isinstance(pool, KnowsStatus)
        assert pool.id == "pool"
        run(pool.close())
        assert all(ca.is_closed for ca in self.group.cas)

    # Choice

    def test_the_primary_is_used_until_its_breaker_opens_and_again_when_it_is_closed(self) -> None:
        assert self.pool.choose(NOBODY) == "a"
        for _ in range(2):
            self.group.cas[0].probes = [gone()]
            self.group.probe(0)
            assert self.pool.choose(NOBODY) == "a"
        self.group.cas[0].probes = [gone()]
        self.group.probe(0)
        assert self.pool.choose(NOBODY) == "b"
        self.group.probe(0)
        assert self.pool.choose(NOBODY) == "b"  # half-open: not while another is well
        self.group.probe(0)
        assert self.pool.choose(NOBODY) == "a"

    def test_failing_requests_open_it_like_failing_probes(self) -> None:
        self.group.cas[0].script = [trouble(Kind.UNREACHABLE), trouble(Kind.NO_ANSWER), trouble(Kind.BAD_ANSWER)]
        for kind in (Kind.UNREACHABLE, Kind.NO_ANSWER, Kind.BAD_ANSWER):
            assert self.kind(self.enroll("a")) is kind
        assert self.pool.choose(NOBODY) == "b"

    def test_a_requests_own_fault_opens_nothing(self) -> None:
        own = (Kind.REFUSED, Kind.INVALID, Kind.TOO_LARGE, Kind.BUSY, Kind.MISCONFIGURED)
        self.group.cas[0].script = [trouble(kind) for kind in own * 3]
        for kind in own * 3:
            assert self.kind(self.enroll("a")) is kind
        assert self.group.members[0].vitals.circuit is Circuit.UNTRIED

    def test_who_did_not_take_the_request_is_not_asked_again(self) -> None:
        assert self.pool.choose(frozenset({"a"})) == "b"
        assert self.refusal(frozenset({"a", "b"})) is Kind.UNREACHABLE

    def test_when_all_are_away_that_is_said_at_once_and_nothing_is_sent(self) -> None:
        for position in range(2):
            self.group.break_down(position, gone())
        calls = [list(ca.calls) for ca in self.group.cas]
        assert self.refusal() is Kind.UNREACHABLE
        assert [ca.calls for ca in self.group.cas] == calls

    def test_one_that_has_just_answered_is_used_when_there_is_no_other(self) -> None:
        for position in range(2):
            self.group.break_down(position, gone())
        self.group.cas[1].away = None
        self.group.probe(1)
        assert self.pool.choose(NOBODY) == "b"

    def test_active_active_spreads_evenly(self) -> None:
        for choice in (RoundRobin(), LeastConnections()):
            pool = Group(self.clock, 3, choice).pool
            assert Counter(pool.choose(NOBODY) for _ in range(30)) == {"a": 10, "b": 10, "c": 10}

    def test_one_that_was_away_gets_its_share_back_little_by_little(self) -> None:
        group = Group(self.clock, choice=RoundRobin())
        group.break_down(0, gone())
        group.cas[0].away = None
        group.probe(0)
        group.probe(0)
        shares = []
        for _ in range(3):
            shares.append(Counter(group.pool.choose(NOBODY) for _ in range(110))["a"])
            self.clock.advance(COMING_BACK / 2)
        assert shares[0] == 10
        assert shares[0] < shares[1] < shares[2] == 55

    # Concurrency

    def test_so_many_are_sent_at_a_time_and_the_others_wait_in_order(self) -> None:
        ca = self.group.cas[0]
        answers: list[Deferred[Any]] = [Deferred() for _ in range(3)]
        ca.script = list(answers)
        waiting = [self.enroll("a") for _ in range(3)]
        assert len(ca.asked) == 2
        assert self.group.members[0].health().in_flight == 3
        answers[1].callback(issued(ca.asked[1].csr))
        self.successResultOf(waiting[1])
        assert len(ca.asked) == 3
        self.assertNoResult(waiting[0])
        assert self.group.members[0].health().in_flight == 2

    def test_a_full_queue_is_passed_over_and_when_all_are_full_that_is_said_at_once(self) -> None:
        never: list[Deferred[Any]] = [Deferred() for _ in range(4)]
        for position, ca in enumerate(self.group.cas):
            ca.script = never[2 * position : 2 * position + 2]
            for _ in range(2 + 2 * QUEUE):
                self.enroll("ab"[position])
            assert self.kind(self.enroll("ab"[position])) is Kind.BUSY
            if position == 0:
                assert self.pool.choose(NOBODY) == "b"
        assert self.refusal() is Kind.BUSY

    def test_whoever_waits_for_one_that_goes_away_is_let_go_at_once(self) -> None:
        ca = self.group.cas[0]
        ca.script = [Deferred(), Deferred()]
        in_hand = [self.enroll("a") for _ in range(2)]
        waiting = [self.enroll("a") for _ in range(5)]
        self.group.break_down(0, trouble(Kind.NO_ANSWER))
        assert {self.kind(each) for each in waiting} == {Kind.BUSY}
        assert self.kind(self.enroll("a")) is Kind.BUSY
        assert len(ca.asked) == 2
        for each in in_hand:
            self.assertNoResult(each)  # they were sent: only the CA's answer or its time limit ends them

    def test_who_has_waited_too_long_to_be_sent_is_told_so(self) -> None:
        never: list[Deferred[Any]] = [Deferred(), Deferred()]
        self.group.cas[0].script = list(never)
        for _ in range(2):
            self.enroll("a")
        waiting = self.enroll("a", send_before=self.clock.seconds() + 30)
        self.clock.advance(29)
        self.assertNoResult(waiting)
        self.clock.advance(2)
        assert self.kind(waiting) is Kind.BUSY

    def test_outcomes_from_before_the_breaker_opened_say_nothing_about_now(self) -> None:
        ca, member = self.group.cas[0], self.group.members[0]
        answers: list[Deferred[Any]] = [Deferred(), Deferred()]
        ca.script = list(answers)
        late = [self.enroll("a") for _ in range(2)]
        self.group.break_down(0, trouble(Kind.NO_ANSWER))
        ca.away = None
        self.group.probe(0)
        assert member.vitals.circuit is Circuit.HALF_OPEN
        answers[0].errback(trouble(Kind.NO_ANSWER))
        answers[1].callback(issued(ca.asked[1].csr))
        assert self.kind(late[0]) is Kind.NO_ANSWER
        self.successResultOf(late[1])
        assert member.vitals.circuit is Circuit.HALF_OPEN

    # What any member can say

    def test_the_chain_comes_from_whoever_has_it_also_while_all_are_away(self) -> None:
        a, b = self.group.cas
        self.group.break_down(0, gone())
        assert run(self.pool.chain())
        assert (a.calls.count("chain"), b.calls.count("chain")) == (0, 1)
        self.group.break_down(1, gone())
        b.away = None  # it still has a copy
        assert run(self.pool.chain())
        b.away = gone()
        with self.assertRaises(AuthorityError):
            run(self.pool.chain())

    def test_status_comes_from_any_member_and_unknown_only_when_all_say_so(self) -> None:
        a, b = self.group.cas
        certificate = issued(csr()).certificate
        assert run(self.pool.status(certificate)) is CertificateStatus.GOOD
        a.statuses[certificate.serial_number] = CertificateStatus.UNKNOWN
        b.statuses[certificate.serial_number] = CertificateStatus.REVOKED
        assert run(self.pool.status(certificate)) is CertificateStatus.REVOKED
        b.statuses[certificate.serial_number] = CertificateStatus.UNKNOWN
        assert run(self.pool.status(certificate)) is CertificateStatus.UNKNOWN
        a.away = b.away = gone()
        with self.assertRaises(AuthorityError):
            run(self.pool.status(certificate))

    def test_what_one_member_does_not_know_may_be_known_to_one_that_is_away(self) -> None:
        a, b = self.group.cas
        certificate = issued(csr()).certificate
        a.statuses[certificate.serial_number] = CertificateStatus.UNKNOWN
        b.away = gone()
        with self.assertRaisesRegex(AuthorityError, "A CA that may know the client certificate is away"):
            run(self.pool.status(certificate))
        self.group.break_down(1, gone())  # so that it is not even asked
        with self.assertRaisesRegex(AuthorityError, "A CA that may know the client certificate is away"):
            run(self.pool.status(certificate))
        a.statuses[certificate.serial_number] = CertificateStatus.GOOD
        assert run(self.pool.status(certificate)) is CertificateStatus.GOOD
