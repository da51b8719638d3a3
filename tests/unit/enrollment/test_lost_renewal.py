"""Renewals whose answer was lost: what the device has already is no answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred

from kipuka.authority.interface import Absent, Finding, Issued
from kipuka.errors import Kind
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.office import ALICE, csr, der
from tests.unit.enrollment.test_polling import INTERVAL, TrackedAuthority, TrackedCase
from tests.unit.enrollment.test_registration import trouble


class Searched(TrackedAuthority):
    """Finds what it has issued for a key, the first first, as long as it is not what the caller knows."""

    def __init__(self) -> None:
        super().__init__()
        self.issued: list[Issued] = []

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        await super().find(public_key, subject, since, known)
        return next((each for each in self.issued if hex(each.certificate.serial_number) not in known), Absent())


class LostRenewal(TrackedCase):
    def setUp(self) -> None:
        super().setUp()
        self.tracked = self.ca = self.searched = Searched()
        self.node = self.new_node("renewing")
        self.key = pki.ec_key()
        self.old = self.new()  # enrolled a moment ago past kipuka, so that no row has its number

    def new(self) -> Issued:
        self.searched.issued.append(self.tracked.issue(csr(self.key)))
        return self.searched.issued[-1]

    def renew(self, old: Issued) -> Deferred[Any]:
        renewal = self.node.registration.renew(old.certificate, csr(self.key), ALICE)
        return Deferred.fromCoroutine(renewal)

    def test_ren_what_is_renewed_is_never_taken_for_the_answer(self) -> None:
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        answer = self.renew(self.old)
        self.poller().start()
        self.assertNoResult(answer)
        assert self.node.states() == [State.UNKNOWN]
        new = self.new()
        self.clock.advance(INTERVAL)
        assert der(self.successResultOf(answer).certificate) == der(new.certificate)
        assert len(self.tracked.asked) == 1

    def test_what_the_latest_submission_renews_counts(self) -> None:
        self.tracked.script = [trouble(Kind.BUSY), trouble(Kind.NO_ANSWER)]
        assert self.kind_of(self.renew(self.old)) is Kind.BUSY
        latest = self.new()
        self.renew(latest).addErrback(lambda _: None)
        (row,) = self.node.rows()
        assert row.renews == hex(latest.certificate.serial_number)

    def test_a_first_enrollment_renews_nothing(self) -> None:
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(csr(self.key))
        self.poller().start()
        assert der(self.successResultOf(answer).certificate) == der(self.old.certificate)
