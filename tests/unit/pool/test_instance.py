"""What a clone's word is worth while the CA itself is away: the line between one certificate and two."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.authority.interface import (
    Absent,
    FindsRequests,
    HasClones,
    InProgress,
    Pending,
    PendingRequests,
    Refused,
    TracksRequests,
    Undecided,
)
from kipuka.errors import AuthorityError, Kind
from tests.unit.enrollment.office import csr
from tests.unit.pool.cas import SINCE, Group, gone, issued, run, trouble

ISSUED = issued(csr())
STALLED = trouble(Kind.NO_ANSWER)
NO_DIRECTORY = [trouble(Kind.MISCONFIGURED), trouble(Kind.BAD_ANSWER)]
HOST_GONE = trouble(Kind.UNREACHABLE)


class InstanceTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.group = Group(self.clock, 3)
        self.own, self.clone, self.other = self.group.cas
        self.instance = self.group.pool.instance("a")

    def find(self) -> object:
        return run(self.instance.find("digest", "CN=device", SINCE, frozenset()))

    def in_doubt(self) -> Kind:
        with self.assertRaises(AuthorityError) as caught:
            self.find()
        return caught.exception.kind

    def test_it_is_what_the_poller_needs(self) -> None:
        for capability in (TracksRequests, FindsRequests, HasClones):
            assert isinstance(self.instance, capability)
        assert self.instance.id == "a"
        assert self.instance.instances == {"a", "b", "c"}

    # A request whose answer was lost

    def test_what_the_ca_has_itself_is_taken_and_nobody_else_is_asked(self) -> None:
        for finding in (ISSUED, Pending("7"), Refused("no")):
            self.own.finding = finding
            assert self.find() is finding
        assert "find" not in self.clone.calls

    def test_what_the_ca_has_not_may_be_at_a_clone_all_the_same(self) -> None:
        for own in (Absent(), InProgress("7")):
            self.own.finding = own
            for found in (ISSUED, Pending("7")):
                self.clone.finding = found
                assert self.find() is found

    def test_the_cas_own_word_that_it_has_nothing_counts(self) -> None:
        for own in (Absent(), InProgress("7")):
            self.own.finding = own
            assert self.find() is own
        self.clone.away = self.other.away = gone()
        assert self.find() is own

    def test_what_a_clone_has_is_taken_whyever_the_ca_is_away(self) -> None:
        for away in (gone(), STALLED, HOST_GONE, *NO_DIRECTORY):
            self.own.away = away
            for found in (ISSUED, Pending("7"), Refused("no")):
                self.clone.finding = found
                assert self.find() is found

    def test_what_a_clone_has_not_counts_when_the_process_of_the_ca_is_gone(self) -> None:
        self.own.away = gone()
        for nothing in (Absent(), InProgress("7")):
            self.clone.finding = nothing
            assert self.find() is nothing

    def test_what_a_clone_has_not_proves_nothing_while_the_ca_may_go_on(self) -> None:
        for away in (STALLED, HOST_GONE, *NO_DIRECTORY):
            self.own.away = away
            assert self.in_doubt() is Kind.UNDECIDED

    def test_that_also_holds_when_its_breaker_is_open_and_then_it_does_not_keep_anybody_waiting(self) -> None:
        for away in (STALLED, HOST_GONE, *NO_DIRECTORY):
            self.group.break_down(0, away)
            before = self.own.calls.count("find")
            assert self.in_doubt() is Kind.UNDECIDED
            self.clone.finding = ISSUED
            assert self.find() is ISSUED
            assert self.own.calls.count("find") == before
            self.clone.finding = Absent()

    def test_a_process_that_is_gone_is_asked_each_time_whether_it_is_back(self) -> None:
        self.group.break_down(0, gone())
        nothing = self.clone.finding
        assert self.find() is nothing
        self.own.away = STALLED  # back, and stopped at once
        assert self.in_doubt() is Kind.UNDECIDED
        self.own.away, self.own.finding = None, InProgress("7")
        assert self.find() is self.own.finding

    def test_the_ca_is_asked_before_the_clone_so_that_what_it_did_last_is_seen_there(self) -> None:
        order: list[str] = []
        self.own.calls = self.clone.calls = self.other.calls = order
        self.own.away = gone()
        self.own._called = lambda name: order.append("own") or (_ for _ in ()).throw(gone())  # type: ignore[method-assign]
        self.find()
        assert order[0] == "own"

    def test_when_nobody_can_be_asked_the_cas_own_trouble_is_told(self) -> None:
        self.own.away, self.clone.away, self.other.away = HOST_GONE, STALLED, STALLED
        assert self.in_doubt() is Kind.UNREACHABLE
        for position, ca in enumerate(self.group.cas):
            assert ca.away is not None
            self.group.break_down(position, ca.away)
        assert self.in_doubt() is Kind.UNDECIDED

    def test_a_clone_that_is_away_is_not_asked(self) -> None:
        self.group.break_down(1, STALLED)
        before = list(self.clone.calls)
        self.own.away = gone()
        self.other.finding = ISSUED
        assert self.find() is ISSUED
        assert self.clone.calls == before

    # A request that waits for an agent

    def test_a_pending_request_is_asked_after_at_its_own_ca(self) -> None:
        self.own.pending, self.clone.pending = frozenset({"1"}), frozenset()
        self.own.standing = Pending("1")
        assert run(self.instance.still_pending(1)) == PendingRequests(frozenset({"1"}), complete=True)
        assert run(self.instance.progress("1")) == Pending("1")
        assert not self.clone.calls

    def test_while_that_is_away_at_a_clone(self) -> None:
        self.clone.pending, self.clone.standing = frozenset({"1"}), ISSUED
        for away in (gone(), STALLED, *NO_DIRECTORY):
            self.own.away = away
            assert run(self.instance.still_pending(1)).ids == {"1"}
            assert run(self.instance.progress("1")) is ISSUED

    def test_a_404_is_no_answer_wherever_it_comes_from(self) -> None:
        self.own.standing = Undecided("404: its directory is down")
        self.clone.standing = Undecided("404: not replicated yet")
        self.other.standing = Refused("no")
        assert run(self.instance.progress("1")) == Refused("no")
        self.other.standing = Undecided("404")
        assert run(self.instance.progress("1")) is self.own.standing

    def test_one_that_only_keeps_waiting_is_not_asked(self) -> None:
        self.group.break_down(0, STALLED)
        before = list(self.own.calls)
        run(self.instance.still_pending(1))
        assert self.own.calls == before
