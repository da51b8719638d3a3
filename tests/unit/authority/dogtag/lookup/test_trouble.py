"""A look-up that fails at any point says so: nothing reads as absence."""

from __future__ import annotations

import pytest

from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import Absent
from kipuka.errors import AuthorityError
from tests.support.dogtag import answers as answers
from tests.support.dogtag.standin import HTML_404, StandIn
from tests.unit.authority.dogtag.lookup.lost import DELETED, LDAP_DOWN, MANUAL, REVIEWS, Lost

FAILURES = {
    "401, as with LDAP down": LDAP_DOWN[0].answer,
    "404 in JSON, as with LDAP down": LDAP_DOWN[2].answer,
    "500 in JSON, as with LDAP down": LDAP_DOWN[3].answer,
    "not deployed": HTML_404,
    "403": answers.error(403, "base.ForbiddenException", "Authorization Error"),
    "503": Answer(503, "text/html", b"not ready"),
    "nonsense": Answer(200, "application/json", b"[]"),
    "no entries": Answer(200, "application/json", b"{}"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_of_any_call_reads_as_absence(name: str) -> None:
    def site() -> Lost:
        dogtag = StandIn()
        Lost(dogtag, subject="CN=other")
        Lost(dogtag, MANUAL, "CN=other")
        return Lost(dogtag, MANUAL, "CN=left in begin")

    whole = site()
    whole.find(known=(str(whole.number),))
    calls = len(whole.dogtag.calls)
    assert calls >= 9
    for position in range(calls):
        lost = site()
        lost.dogtag.answer_next(FAILURES[name], after=position)
        with pytest.raises(AuthorityError):
            lost.find(known=(str(lost.number),))


def test_with_ldap_down_nothing_is_absent() -> None:
    lost = Lost(StandIn(), MANUAL)
    lost.dogtag.ldap_down = True
    with pytest.raises(AuthorityError):
        lost.find()


def test_a_request_that_cannot_be_reviewed_is_tried_again() -> None:
    lost = Lost(StandIn(), MANUAL)
    authority = lost.dogtag.authority()
    lost.dogtag.answer_next(DELETED[1].answer, after=REVIEWS)
    assert lost.find(authority) == Absent()
    assert lost.find(authority) == lost.outcome


def test_a_list_that_failed_is_not_kept() -> None:
    lost = Lost(StandIn(), MANUAL)
    authority = lost.dogtag.authority()
    lost.dogtag.answer_next(LDAP_DOWN[0].answer, after=2)
    with pytest.raises(AuthorityError):
        lost.find(authority)
    assert lost.find(authority) == lost.outcome
