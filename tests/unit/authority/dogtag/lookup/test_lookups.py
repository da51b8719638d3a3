"""Many look-ups at the same time share what they read, and read no more than they may."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from kipuka.authority.dogtag import lookup, open_requests
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import (
    Absent,
    Finding,
    InProgress,
    Issued,
)
from kipuka.errors import AuthorityError, Kind
from tests.support.dogtag.standin import StandIn, now
from tests.unit.authority.dogtag.lookup.lost import MANUAL, SUBJECT, Lost, Missing, fetches, key, reviews

# --- several at the same time


def result(looking: Deferred[Finding]) -> Finding:
    async def wait() -> Finding:
        return await looking

    return now(wait())


class Slow:
    """Lets look-ups read through a stand-in that takes its time over some operation."""

    def __init__(self, dogtag: StandIn, operation: Operation) -> None:
        self.authority = dogtag.authority()
        self._call = self.authority._lookup._call
        self._operation = operation
        self.waiting: list[Deferred[None]] = []
        self.asked: list[str] = []
        self.authority._lookup._call = self.authority._lookup._requests._call = self

    async def __call__(self, operation: Operation, value: str = "", body: bytes | None = None, **how: Any) -> Answer:
        if operation is self._operation:
            self.asked.append(value)
            self.waiting.append(Deferred())
            await self.waiting[-1]
        return await self._call(operation, value, body, **how)

    def go_on(self) -> int:
        """Answer what is waiting, again and again; return how many were waiting at the same time at most."""
        most = 0
        while self.waiting:
            most = max(most, len(self.waiting))
            waiting, self.waiting = self.waiting, []
            for each in waiting:
                each.callback(None)
        return most

    def begin(self, lost: Lost, subject: str = SUBJECT) -> Deferred[Finding]:
        """Begin to look for one."""
        return Deferred.fromCoroutine(self.authority.find(key(lost.csr), subject, lost.since, frozenset()))

    def find(self, *several: Lost) -> list[Finding]:
        """Look for all at the same time."""
        looking = [self.begin(lost) for lost in several]
        self.most = self.go_on()
        return [result(each) for each in looking]


def test_several_requests_are_read_at_the_same_time_and_each_by_one_look_up_only() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(9)]
    slow = Slow(dogtag, Operation.REVIEW)
    assert slow.find(*several) == [lost.outcome for lost in several]
    assert slow.most == 4
    assert sorted(slow.asked) == sorted(str(lost.number) for lost in several)


def test_several_certificates_are_read_at_the_same_time_and_each_by_one_look_up_only() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag) for _ in range(9)]
    slow = Slow(dogtag, Operation.CERTIFICATE)
    assert slow.find(*several) == [lost.outcome for lost in several]
    assert slow.most <= 4 + len(several)  # one's reading, and the others fetching what they have found
    assert {slow.asked.count(lost.serial) for lost in several} <= {1, 2}


def test_an_older_request_with_a_higher_number_does_not_hide_a_newer_one() -> None:
    """A clone's numbers are all higher than the other's, whenever they were given."""
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    dogtag._numbers = itertools.count(9_990_001)
    for _ in range(3):
        Lost(dogtag, MANUAL)
    assert lost.find() == lost.outcome


def test_nothing_more_is_read_from_a_ca_that_fails() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(9)]
    slow = Slow(dogtag, Operation.REVIEW)
    looking = slow.begin(several[0])
    dogtag.ldap_down = True
    slow.go_on()
    with pytest.raises(AuthorityError):
        result(looking)
    assert len(slow.asked) == 4


def test_one_search_under_any_name_serves_the_look_ups_that_come_together() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(5)]
    since = several[0].since
    authority = dogtag.authority()
    for _ in range(2):
        for lost in several:
            assert lost.find(authority, since=since, subject="O=without") == lost.outcome
    assert sum("search" in path for _, path in dogtag.calls) == 1
    dogtag.clock.advance(2)
    assert several[0].find(authority, since=since, subject="O=without") == several[0].outcome
    assert sum("search" in path for _, path in dogtag.calls) == 2


def test_a_search_from_before_the_list_of_requests_is_not_used() -> None:
    """Or what left the list meanwhile, because it was issued, would be in neither."""
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    other = Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    assert other.find(authority, since=lost.since) == other.outcome
    dogtag.approve(lost.number)
    dogtag.clock.advance(2)
    assert isinstance(lost.find(authority, subject="CN=another"), Issued)


def test_a_search_during_which_requests_were_listed_anew_is_not_kept() -> None:
    dogtag = StandIn()
    lost, other = Lost(dogtag, MANUAL), Lost(dogtag, MANUAL, "CN=other")
    slow = Slow(dogtag, Operation.SEARCH)
    first = slow.begin(other, "O=without")
    dogtag.clock.advance(2)
    second = slow.begin(lost, "O=without")  # has made lists of its own and waits for the first one's search
    assert len(slow.asked) == 1
    slow.go_on()
    assert (result(first), result(second)) == (other.outcome, lost.outcome)
    assert len(slow.asked) == 2


# --- the lists of requests


def test_the_lists_of_all_states_grow_old_together() -> None:
    """Or what went from "begin" to "pending" would be in neither a new list of the one nor an old one of the other."""
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    lost.stands("begin")
    slow = Slow(dogtag, Operation.REQUESTS)
    first = slow.begin(lost, "CN=another")
    slow.waiting.pop().callback(None)
    dogtag.clock.advance(1.5)
    slow.go_on()  # all but the first were made later
    assert result(first) == InProgress(str(lost.number))
    dogtag.clock.advance(0.6)
    lost.stands("pending")
    second = slow.begin(lost, "CN=another")
    slow.go_on()
    assert result(second) == lost.outcome


def test_a_list_that_takes_long_serves_all_who_asked_while_it_was_made() -> None:
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(3)]
    slow = Slow(dogtag, Operation.REQUESTS)
    looking = [slow.begin(lost) for lost in several]
    dogtag.clock.advance(10)
    slow.go_on()
    assert [result(each) for each in looking] == [lost.outcome for lost in several]
    assert len(slow.asked) == 4


def test_certificates_that_are_known_to_be_others_are_not_read() -> None:
    dogtag = StandIn()
    others = [Lost(dogtag, subject="CN=somebody's") for _ in range(5)]
    lost = Lost(dogtag, MANUAL)
    assert lost.find(known=tuple(other.serial for other in others)) == lost.outcome
    assert fetches(dogtag) == []


# --- bounds


def test_more_than_can_be_read_in_one_go_is_read_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "READ_AT_ONCE", 3)
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)  # the oldest: its turn comes last
    for _ in range(7):
        Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    for _ in range(2):
        with pytest.raises(AuthorityError) as caught:
            lost.find(authority)
        assert caught.value.kind is Kind.BUSY
    assert lost.find(authority) == lost.outcome


def test_requests_that_cannot_be_read_do_not_use_up_what_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those whose profile was deleted: else a few hundred of them would leave every lost request undecided."""
    monkeypatch.setattr(lookup, "READ_AT_ONCE", 3)
    monkeypatch.setattr(open_requests, "READ_AGAIN", 2)
    dogtag = StandIn()
    dogtag.deleted = {Lost(dogtag, MANUAL).number for _ in range(4)}
    lost = Lost(dogtag)
    authority = dogtag.authority()
    with pytest.raises(AuthorityError):  # it has not tried the fourth
        lost.find(authority, known=(lost.serial,))
    tried: list[str] = []
    for _ in range(4):
        dogtag.clock.advance(2)
        dogtag.calls.clear()
        for _ in range(3):  # with the same lists
            assert lost.find(authority, known=(lost.serial,)) == Absent()
        assert 0 < len(reviews(dogtag)) <= 3
        tried += reviews(dogtag)
    assert sorted(tried.count(each) for each in set(tried)) == [2, 2, 2, 3]  # all in turn


def test_a_request_that_could_not_be_read_is_found_when_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_requests, "READ_AGAIN", 1)
    dogtag = StandIn()
    several = [Lost(dogtag, MANUAL) for _ in range(3)]
    dogtag.deleted = {lost.number for lost in several}
    authority = dogtag.authority()
    for lost in several:
        assert lost.find(authority) == Absent()
    dogtag.deleted.clear()
    for _ in several:
        dogtag.clock.advance(2)
        several[0].find(authority)
    assert [lost.find(authority) for lost in several] == [lost.outcome for lost in several]


def test_what_cannot_be_read_and_is_open_no_more_is_forgotten() -> None:
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    dogtag.deleted = {lost.number}
    authority = dogtag.authority()
    lost.find(authority)
    dogtag.reject(lost.number)
    dogtag.clock.advance(2)
    assert lost.find(authority) == Absent()
    assert not authority._lookup._requests._unreadable


def test_a_certificate_is_found_whatever_is_left_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "READ_AT_ONCE", 1)
    dogtag = StandIn()
    for _ in range(5):
        Lost(dogtag, MANUAL)
    lost = Lost(dogtag)
    assert lost.find() == lost.outcome


def test_more_open_requests_than_were_asked_for_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_requests, "_FOREIGN", 2)
    dogtag = StandIn()
    lost = Lost(dogtag, MANUAL)
    Lost(dogtag, MANUAL)
    assert lost.find() == lost.outcome  # it is in the list, however short that is
    with pytest.raises(AuthorityError) as caught:
        Missing(dogtag).find()
    assert caught.value.kind is Kind.BUSY
    assert Missing(dogtag).find(known=("1", "2")) == Absent()  # known ones are asked for in addition
