"""What becomes of a certificate once there is one: written out, given again, renewed, kept."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from twisted.internet.defer import Deferred

from kipuka.authority.interface import CertificateStatus, Outcome, Pending
from kipuka.enrollment.ledger.ledger import CLEAN
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.registration import Answered
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.case import Case, trouble
from tests.unit.enrollment.office import ALICE, CA, DAYS, csr, der


class Delivery(Case):
    def test_wait_07_the_same_certificate_within_the_replay_window(self) -> None:
        key = pki.ec_key()
        first = self.successResultOf(self.node.ask(csr(key)))
        first.written()
        assert self.node.states() == [State.DELIVERED]
        self.clock.advance(599)
        assert der(self.successResultOf(self.node.ask(csr(key))).certificate) == der(first.certificate)
        self.clock.advance(2)
        assert der(self.successResultOf(self.node.ask(csr(key))).certificate) != der(first.certificate)
        assert self.node.states() == [State.CLOSED, State.ISSUED]

    def test_the_replay_window_ends_after_its_last_second_wherever_it_is_asked(self) -> None:
        key, other = pki.ec_key(), self.new_node("node-2")
        first = self.successResultOf(self.node.ask(csr(key)))
        first.written()
        self.clock.advance(600)
        assert der(self.successResultOf(other.ask(csr(key))).certificate) == der(first.certificate)
        self.clock.advance(0.001)
        seconds = [self.successResultOf(node.ask(csr(key))) for node in (other, self.node)]
        assert der(seconds[0].certificate) == der(seconds[1].certificate) != der(first.certificate)
        assert self.node.states() == [State.CLOSED, State.ISSUED]

    def test_what_was_never_written_out_is_delivered_whenever_it_is_asked_for(self) -> None:
        key = pki.ec_key()
        first = self.successResultOf(self.node.ask(csr(key)))
        self.clock.advance(30 * 86400)
        assert der(self.successResultOf(self.node.ask(csr(key))).certificate) == der(first.certificate)
        assert len(self.ca.asked) == 1

    def test_a_revoked_certificate_is_not_given_again(self) -> None:
        key = pki.ec_key()
        first = self.successResultOf(self.node.ask(csr(key)))
        first.written()
        assert first.certificate is not None
        self.ca.statuses[first.certificate.serial_number] = CertificateStatus.REVOKED
        assert der(self.successResultOf(self.node.ask(csr(key))).certificate) != der(first.certificate)

    def test_an_expired_certificate_is_no_answer_however_late_it_is_collected(self) -> None:
        key = pki.ec_key()
        first = self.successResultOf(self.node.ask(csr(key)))
        self.clock.advance((DAYS - 1) * 86400)
        assert der(self.successResultOf(self.node.ask(csr(key))).certificate) == der(first.certificate)
        self.clock.advance(2 * 86400)
        assert der(self.successResultOf(self.node.ask(csr(key))).certificate) != der(first.certificate)
        assert self.node.states() == [State.CLOSED, State.ISSUED]

    def test_a_delivery_is_noted_when_the_store_is_back(self) -> None:
        delivered, refused = csr(), csr()
        answered = self.successResultOf(self.node.ask(delivered))
        self.ca.script = [trouble(Kind.REFUSED)]
        refusal = self.failureResultOf(self.node.ask(refused), AuthorityError).value
        self.node.broken = True
        at = self.node.ledger.now()
        answered.written()
        refusal.written()
        closing = Deferred.fromCoroutine(self.node.submitter.settled())
        self.clock.pump([1] * 30)
        self.assertNoResult(closing)
        self.node.broken = False
        self.clock.advance(1)
        self.successResultOf(closing)
        assert self.node.states() == [State.DELIVERED, State.CLOSED]
        assert self.node.rows()[1].delivered == at

    def test_ren_whoever_shows_a_certificate_has_it_and_asks_for_the_next(self) -> None:
        """Nothing was noted of its delivery, say because the store was away; the same key is used for every renewal."""
        key = pki.ec_key()
        certificate = self.successResultOf(self.node.ask(csr(key))).certificate
        seen = {der(certificate)}
        for _ in range(3):
            assert certificate is not None
            asked = Deferred.fromCoroutine(self.node.registration.renew(certificate, csr(key), ALICE))
            certificate = self.successResultOf(asked).certificate
            assert der(certificate) not in seen
            seen.add(der(certificate))


class WhatIsRenewed(Case):
    def renew(self, issuer: pki.Issuer) -> Deferred[Answered]:
        device = issuer.client("CN=device")
        return Deferred.fromCoroutine(self.node.registration.renew(device.certificate, csr(device.key), ALICE))

    def test_ren_09_what_a_ca_above_has_issued_is_not_renewed(self) -> None:
        root = pki.root()
        self.ca.above = (root.certificate,)
        error = self.failureResultOf(self.renew(root), RequestError).value
        assert error.kind is Kind.FORBIDDEN
        assert self.ca.asked == []
        assert self.successResultOf(self.renew(CA)).certificate is not None

    def test_what_the_ca_has_issued_with_its_key_before_is_renewed(self) -> None:
        old = pki.root(CA.certificate.subject)
        self.ca.above = (CA.certify(old.key, old.certificate.subject), old.certificate)  # new signs old, old itself
        assert self.successResultOf(self.renew(old)).certificate is not None


class Renewal(Case):
    """A renewal while the CA cannot say how the certificate stands that is to be renewed."""

    def setUp(self) -> None:
        super().setUp()
        self.key = pki.ec_key()
        self.old = self.ca.issue(csr(self.key)).certificate

    def renew(self, old: x509.Certificate | None = None) -> Deferred[Answered]:
        return Deferred.fromCoroutine(self.node.registration.renew(old or self.old, csr(self.key), ALICE))

    def silence(self, *questions: str) -> None:
        async def unanswered(*_: object) -> None:
            raise trouble(Kind.BAD_ANSWER)

        for question in questions:
            self.patch(self.ca, question, unanswered)

    def test_nothing_is_written_down_and_nothing_submitted(self) -> None:
        self.silence("status")
        assert self.kind_of(self.renew()) is Kind.BAD_ANSWER
        assert self.node.rows() == []

    def test_what_was_issued_and_not_written_out_is_given(self) -> None:
        first = self.successResultOf(self.renew())
        for question in ("status", "chain"):
            self.silence(question)
            assert der(self.successResultOf(self.renew()).certificate) == der(first.certificate)
        assert len(self.ca.asked) == 1

    def test_what_was_written_out_is_given_for_the_replay_window(self) -> None:
        first = self.successResultOf(self.renew())
        first.written()
        self.silence("status")
        self.clock.advance(600)
        assert der(self.successResultOf(self.renew()).certificate) == der(first.certificate)
        self.clock.advance(1)
        assert self.kind_of(self.renew()) is Kind.BAD_ANSWER

    def test_what_waits_is_waited_for_and_a_refusal_is_told(self) -> None:
        self.ca.script = [Pending("17")]
        self.renew().addErrback(lambda _: None).cancel()
        self.silence("status")
        waiting = self.renew()
        (row,) = self.node.rows()
        self.successResultOf(Deferred.fromCoroutine(self.node.ledger.happen(Event.REFUSED, row, reason="No.")))
        assert self.kind_of(waiting) is Kind.REFUSED

    def test_what_the_ca_has_not_is_not_submitted(self) -> None:
        self.ca.script = [trouble(Kind.BUSY)]
        assert self.kind_of(self.renew()) is Kind.BUSY
        self.silence("status")
        assert self.kind_of(self.renew()) is Kind.BAD_ANSWER
        assert len(self.ca.asked) == 1

    def test_what_proves_absent_meanwhile_is_not_submitted(self) -> None:
        self.ca.script = [trouble(Kind.NO_ANSWER)]
        self.renew().addErrback(lambda _: None).cancel()
        self.silence("status")
        waiting = self.renew()
        (row,) = self.node.rows()
        self.successResultOf(Deferred.fromCoroutine(self.node.ledger.happen(Event.ABSENT, row)))
        assert self.kind_of(waiting) is Kind.BAD_ANSWER
        assert len(self.ca.asked) == 1

    def test_an_expired_one_is_not_given_and_no_other_submitted(self) -> None:
        self.successResultOf(self.renew())
        self.silence("status")
        self.clock.advance((DAYS + 1) * 86400)
        assert self.kind_of(self.renew()) is Kind.BAD_ANSWER
        assert self.node.states() == [State.CLOSED]

    def test_a_revoked_certificate_gets_nothing_whatever_there_is(self) -> None:
        self.successResultOf(self.renew())
        self.ca.statuses[self.old.serial_number] = CertificateStatus.REVOKED
        self.failureResultOf(self.renew(), RequestError)


class Kept(Case):
    def test_what_was_delivered_is_kept_for_its_time_and_then_gone(self) -> None:
        self.successResultOf(self.node.ask(csr())).written()
        self.clock.advance(CLEAN)
        assert self.node.states() == [State.CLOSED]
        self.clock.pump([86400] * 91)
        assert self.node.states() == []

    def test_what_somebody_may_still_come_for_is_kept(self) -> None:
        self.ca.script = [Pending("17"), trouble(Kind.NO_ANSWER)]
        for _ in range(3):
            self.node.ask(csr()).addErrback(lambda _: None)
        self.clock.pump([86400] * 200)
        assert self.node.states() == [State.PENDING, State.UNKNOWN, State.ISSUED]

    def test_a_certificate_that_nobody_came_for_is_kept_until_it_expires(self) -> None:
        self.successResultOf(self.node.ask(csr()))
        (row,) = self.node.rows()
        assert row.not_after == pki.NOW + timedelta(days=DAYS)
        self.clock.advance((row.not_after - self.node.ledger.now()).total_seconds() - 1)
        assert self.node.states() == [State.ISSUED]
        self.clock.advance(CLEAN)
        assert self.node.states() == [State.CLOSED]
        assert self.node.events[-1] == (Event.OUTDATED, row.id)

    def test_what_came_to_nothing_and_nobody_comes_back_for_is_not_kept_for_ever(self) -> None:
        self.ca.script = [trouble(Kind.BUSY), trouble(Kind.REFUSED)]
        for _ in range(2):
            self.node.ask(csr()).addErrback(lambda _: None)
        self.clock.pump([86400] * 89)
        assert self.node.states() == [State.RECEIVED, State.REJECTED]
        self.clock.pump([86400] * 2)
        assert self.node.states() == [State.CLOSED] * 2
        self.clock.pump([86400] * 91)
        assert self.node.states() == []

    def test_a_request_that_comes_back_when_its_row_is_about_to_be_closed_is_submitted(self) -> None:
        """And not refused with the trouble of long ago."""
        key = pki.ec_key()
        self.ca.script = [trouble(Kind.BUSY)]
        self.node.ask(csr(key)).addErrback(lambda _: None)
        self.clock.pump([86400] * 89)
        self.clock.advance(86400 - 1)
        self.node.hold(1)
        answer = self.node.ask(csr(key))
        self.clock.advance(CLEAN)  # next in the queue, between the joining and the taking
        self.node.go_on()
        assert self.successResultOf(answer).certificate is not None

    def test_nothing_is_kept_for_less_than_an_hour(self) -> None:
        """Not rows, which look-ups need, nor signs of life: what a living node has in hand would be looked up."""
        store, now = self.node.store, self.node.ledger.now()
        self.ca.script = [trouble(Kind.REFUSED)]
        self.failureResultOf(self.node.ask(csr()), AuthorityError).value.written()
        self.ca.script = [Deferred()]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.node.broken = True  # so that nothing more is heard of this process
        self.clock.advance(CLEAN / 2)
        other = self.new_node("node-2")
        other.ledger.keep = timedelta(seconds=1)
        self.clock.advance(CLEAN / 4)
        self.successResultOf(Deferred.fromCoroutine(other.ledger._clean()))
        assert other.states() == [State.CLOSED, State.SUBMITTING]
        assert store.orphans(now) == []


class Nodes(Case):
    def test_two_nodes_asked_at_the_same_instant_submit_once(self) -> None:
        other, key, answer = self.new_node("node-2"), pki.ec_key(), Deferred[Outcome]()
        self.ca.script = [answer]
        first, second = self.node.ask(csr(key)), other.ask(csr(key))
        answer.callback(self.ca.issue(csr(key)))
        certificate = self.successResultOf(first).certificate
        self.assertNoResult(second)
        self.clock.advance(1)
        assert der(self.successResultOf(second).certificate) == der(certificate)
        assert len(self.ca.asked) == 1

    def test_a_submission_of_a_dead_process_is_an_orphan_and_of_a_live_one_is_not(self) -> None:
        self.ca.script = [Deferred()]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.clock.advance(3)
        since = self.node.ledger.now()
        assert self.node.store.orphans(since) == []
        self.node.broken = True
        self.clock.pump([3] * 8)
        (orphan,) = self.node.store.orphans(self.node.ledger.now())
        assert orphan.state is State.SUBMITTING
