"""LDAP ends a search at its limits, and Dogtag gives out what there is: what such a list lacks is not absent."""

from __future__ import annotations

import pytest

from kipuka.authority.dogtag import DogtagAuthority, open_requests
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import LIST_SECONDS
from kipuka.authority.interface import Absent
from kipuka.errors import AuthorityError, Kind
from tests.support.dogtag import transcript
from tests.support.dogtag.answers import NO_ROUTE
from tests.support.dogtag.standin import StandIn
from tests.unit.authority.dogtag.lookup.lost import LDAP_DOWN, MANUAL, REVIEWS, SUBJECT, Lost, Missing
from tests.unit.authority.dogtag.lookup.test_lookups import Slow, result

LISTS_11 = transcript.read("11.9.1/20-agent-list.txt")


def refusal(lost: Lost, authority: DogtagAuthority, known: tuple[str, ...] = ()) -> str:
    """Why nothing can be said of it, which is no failure of the CA's."""
    with pytest.raises(AuthorityError) as caught:
        lost.find(authority, known=known)
    assert caught.value.kind is Kind.BUSY
    assert "LDAP limits" in caught.value.cause
    return caught.value.cause


def test_a_list_that_lacks_a_request_known_to_be_pending_proves_nothing() -> None:
    dogtag = StandIn(size_limit=5)
    own = tuple(str(Lost(dogtag, MANUAL).number) for _ in range(10))
    lost = Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    assert f"request {own[-1]} is pending and in no list" in refusal(lost, authority, own)
    assert sum(path == f"/ca/rest/certrequests/{own[-1]}" for _, path in dogtag.calls) == 1
    dogtag.size_limit = 11
    dogtag.clock.advance(2)
    assert lost.find(authority, known=own) == lost.outcome


def test_nor_does_it_prove_that_what_was_begun_will_not_go_on() -> None:
    dogtag = StandIn(size_limit=1)
    lost, _, other = (Lost(dogtag, MANUAL) for _ in range(3))
    lost.stands("begin")
    assert "in no list" in refusal(lost, dogtag.authority(), (str(other.number),))


def test_what_is_in_a_short_list_is_found_and_so_are_certificates() -> None:
    dogtag = StandIn(size_limit=1)
    listed, own, issued = Lost(dogtag, MANUAL), Lost(dogtag, MANUAL), Lost(dogtag)
    known = (str(own.number),)
    assert listed.find(known=known) == listed.outcome
    for subject in (SUBJECT, "CN=rewritten"):
        assert issued.find(known=known, subject=subject) == issued.outcome


def test_requests_that_were_decided_meanwhile_are_asked_after_once_and_cast_no_doubt() -> None:
    dogtag = StandIn()
    decided = [Lost(dogtag, MANUAL) for _ in range(3)]
    known = tuple(str(each.number) for each in decided)
    for each in decided[1:]:
        dogtag.approve(each.number)
    dogtag.reject(decided[0].number)
    authority = dogtag.authority()
    for _ in range(3):
        assert Missing(dogtag).find(authority, known=known) == Absent()
        dogtag.clock.advance(2)
    assert sum(path.startswith("/ca/rest/certrequests/") for _, path in dogtag.calls) == 3


def test_a_request_that_the_ca_has_not_by_its_word_is_asked_after_again() -> None:
    """10.x says so of any request while its LDAP server is down, if only for a moment."""
    dogtag = StandIn(size_limit=1)
    own = [Lost(dogtag, MANUAL) for _ in range(2)]
    authority, known = dogtag.authority(), (str(own[1].number),)
    dogtag.answer_next(LDAP_DOWN[2].answer, after=REVIEWS)
    assert Missing(dogtag).find(authority, known=known) == Absent()
    dogtag.clock.advance(2)
    assert "in no list" in refusal(Missing(dogtag), authority, known)


def test_those_that_the_ca_has_not_do_not_keep_others_from_being_asked_after() -> None:
    dogtag = StandIn(size_limit=1)
    own = [Lost(dogtag, MANUAL) for _ in range(2)]
    authority, known = dogtag.authority(), (str(own[1].number), *(f"9999{digit}" for digit in range(6)))
    assert Missing(dogtag).find(authority, known=known) == Absent()
    for _ in range(2):
        dogtag.clock.advance(2)
        assert "in no list" in refusal(Missing(dogtag), authority, known)


def test_what_a_proxy_says_of_a_request_is_not_the_word_of_the_ca() -> None:
    dogtag = StandIn(size_limit=1)
    own = [Lost(dogtag, MANUAL) for _ in range(2)]
    dogtag.answer_next(NO_ROUTE, after=REVIEWS)
    with pytest.raises(AuthorityError) as caught:
        Missing(dogtag).find(known=(str(own[1].number),))
    assert caught.value.kind is Kind.BAD_ANSWER


def test_few_are_asked_after_at_a_time_and_all_in_the_end() -> None:
    dogtag = StandIn(size_limit=2)
    Lost(dogtag, MANUAL)
    own = [Lost(dogtag, MANUAL) for _ in range(10)]
    for each in own[2:]:
        dogtag.approve(each.number)
    authority, known = dogtag.authority(), tuple(str(each.number) for each in own)
    for _ in range(2):
        assert Missing(dogtag).find(authority, known=known) == Absent()
        dogtag.clock.advance(2)
    assert "in no list" in refusal(Missing(dogtag), authority, known)
    assert sum(path.startswith("/ca/rest/certrequests/") for _, path in dogtag.calls) == 9


def test_a_request_that_is_on_its_way_from_state_to_state_casts_no_doubt() -> None:
    dogtag = StandIn()
    own = Lost(dogtag, MANUAL)
    own.stands("approved")
    assert Missing(dogtag).find(known=(str(own.number),)) == Absent()


def test_a_list_whose_length_is_a_round_number_looks_like_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_requests, "_ROUND", 4)
    dogtag = StandIn(size_limit=4)
    for _ in range(4):
        Lost(dogtag, MANUAL)
    lost = Lost(dogtag, MANUAL)
    authority = dogtag.authority()
    assert "a list of 4 requests in state pending, which looks like a limit" in refusal(lost, authority)
    dogtag.size_limit = 5
    dogtag.clock.advance(2)
    assert lost.find(authority) == lost.outcome
    assert Missing(dogtag).find(authority) == Absent()


def test_a_list_that_takes_as_long_as_its_search_may_proves_nothing() -> None:
    dogtag = StandIn()
    slow = Slow(dogtag, Operation.REQUESTS)
    for seconds in (LIST_SECONDS - 3, LIST_SECONDS):
        looking = slow.begin(Missing(dogtag))
        dogtag.clock.advance(seconds)
        slow.go_on()
        if seconds < LIST_SECONDS:
            assert result(looking) == Absent()
    with pytest.raises(AuthorityError) as caught:
        result(looking)
    assert caught.value.kind is Kind.BUSY
    assert "after 20 s" in caught.value.cause


def test_no_list_as_of_11_9_with_more_than_it_gives_proves_nothing() -> None:
    dogtag = StandIn()
    issued = Lost(dogtag)
    for lost, after in ((issued, 1), (Missing(dogtag), 2)):
        dogtag.answer_next(LISTS_11[1].answer, after=after)
        authority = dogtag.authority()
        if lost is issued:
            assert lost.find(authority, subject="CN=rewritten") == lost.outcome
        else:
            refusal(lost, authority)
