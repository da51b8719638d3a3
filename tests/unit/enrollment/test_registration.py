from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Outcome, Pending
from kipuka.enrollment.ledger.application import application
from kipuka.enrollment.ledger.ledger import CLEAN, QUEUE
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.registration import Answered
from kipuka.enrollment.submission import granted
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.office import ALICE, BOB, CA, DAYS, FakeAuthority, Node, csr, der


def trouble(kind: Kind) -> AuthorityError:
    return AuthorityError(kind, f"The CA says {kind.value}.")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.clock = Clock()
        self.clock.advance(datetime.now(UTC).timestamp())
        self.ca = FakeAuthority()
        self.nodes: list[Node] = []
        self.node = self.new_node("node-1")

    def new_node(self, name: str) -> Node:
        node = Node(self.folder, self.ca, self.clock, name)
        self.nodes.append(node)
        self.addCleanup(node.close)
        return node

    def kind_of(self, answer: Deferred[object]) -> Kind:
        error = self.failureResultOf(answer, AuthorityError).value
        assert isinstance(error, AuthorityError)
        return error.kind


class Submission(Case):
    def test_the_row_is_on_disk_before_the_ca_is_asked(self) -> None:
        seen: list[list[State]] = []
        self.ca.on_call = lambda: seen.append(self.new_node("other").states())
        self.successResultOf(self.node.ask(csr()))
        assert seen == [[State.SUBMITTING]]
        assert self.node.states() == [State.ISSUED]

    def test_enr_10_wait_03_a_repetition_with_a_new_signature_joins(self) -> None:
        key, answer = pki.ec_key(), Deferred[Outcome]()
        self.ca.script = [answer]
        first, second = self.node.ask(csr(key)), self.node.ask(csr(key, challenge_password="other"))
        self.assertNoResult(first)
        self.assertNoResult(second)
        answer.callback(self.ca.issue(csr(key)))
        assert der(self.successResultOf(first).certificate) == der(self.successResultOf(second).certificate)
        assert len(self.ca.asked) == 1

    def test_wait_04_another_caller_asks_for_something_of_its_own(self) -> None:
        key = pki.ec_key()
        first = self.successResultOf(self.node.ask(csr(key), ALICE))
        second = self.successResultOf(self.node.ask(csr(key), BOB))
        assert der(first.certificate) != der(second.certificate)

    def test_other_names_or_another_key_are_another_request(self) -> None:
        key = pki.ec_key()
        for request in (csr(key), csr(key, "CN=other"), csr(key, alternative=pki.san("a.example")), csr()):
            self.successResultOf(self.node.ask(request))
        assert len(self.ca.asked) == 4

    def test_enr_05_another_use_is_another_request(self) -> None:
        """Else whoever asks for a server's certificate gets the client's that was issued for the key before."""
        key = pki.ec_key()
        uses = [
            x509.ExtendedKeyUsage([use]) for use in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
        ]
        for asked in ([], [(uses[0], False)], [(uses[1], False)], [(uses[1], True)]):
            self.successResultOf(self.node.ask(csr(key, extensions=asked)))
        assert len(self.ca.asked) == 4

    def test_wait_03_the_same_extensions_in_another_order_and_with_another_signature_join(self) -> None:
        key, usage = pki.ec_key(), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        asked = [(usage, False), (x509.BasicConstraints(ca=False, path_length=None), True)]
        for number, extensions in enumerate((asked, asked[::-1])):
            answer = self.node.ask(
                csr(key, alternative=pki.san("a.example"), extensions=extensions, challenge_password=str(number))
            )
            self.successResultOf(answer)
        assert len(self.ca.asked) == 1

    def test_without_other_extensions_a_key_is_what_it_was_before_they_counted(self) -> None:
        """Rows of a ledger outlive a release: their requests must find them again."""
        key = ec.derive_private_key(4711, ec.SECP256R1())
        request = EnrollmentRequest(csr(key, "CN=a,O=b", alternative=pki.san("a.example")), None, "x")
        found = application(request, ALICE, operation="simpleenroll", label="lab", ca_id="fake")
        assert found.key == "1d458f7b2fadf8f5ba711c7ab6e09233b1f2235ff7ac3ced68d20a28b3353a1d"

    def test_a_client_that_goes_away_changes_nothing(self) -> None:
        key, answer = pki.ec_key(), Deferred[Outcome]()
        self.ca.script = [answer]
        gone = self.node.ask(csr(key))
        gone.cancel()
        self.failureResultOf(gone)
        answer.callback(self.ca.issue(csr(key)))
        assert self.node.states() == [State.ISSUED]
        assert self.successResultOf(self.node.ask(csr(key))).certificate is not None
        assert len(self.ca.asked) == 1

    def test_what_was_certainly_not_sent_is_sent_again_once(self) -> None:
        self.ca.script = [trouble(Kind.UNREACHABLE)]
        assert self.successResultOf(self.node.ask(csr())).certificate is not None
        self.ca.script = [trouble(Kind.UNREACHABLE)] * 2
        assert self.kind_of(self.node.ask(csr())) is Kind.UNREACHABLE
        assert self.node.states() == [State.ISSUED, State.RECEIVED]
        assert len(self.ca.asked) == 4

    def test_err_07_a_ca_that_did_nothing_is_told_as_it_is_and_leaves_the_row_free(self) -> None:
        key = pki.ec_key()
        self.ca.script = [trouble(Kind.MISCONFIGURED)]
        assert self.kind_of(self.node.ask(csr(key))) is Kind.MISCONFIGURED
        assert self.successResultOf(self.node.ask(csr(key))).certificate is not None

    def test_a_certificate_for_another_key_is_no_answer(self) -> None:
        self.ca.script = [self.ca.issue(csr())]
        answer = self.node.ask(csr())
        self.clock.advance(20)
        assert self.kind_of(answer) is Kind.UNDECIDED
        assert self.node.states() == [State.UNKNOWN]

    def test_without_the_store_nothing_is_sent(self) -> None:
        self.node.broken = True
        assert self.kind_of(self.node.ask(csr())) is Kind.UNREACHABLE
        assert self.ca.asked == []

    def test_who_queues_behind_a_hanging_store_is_told_before_it_is_their_turn(self) -> None:
        queue: list[Callable[[], None]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            queue.append(lambda: maybeDeferred(work).chainDeferred(done))
            return done

        self.node.ledger._in_thread = later
        answer = self.node.ask(csr())
        self.clock.advance(QUEUE + 1)
        for each in queue:
            each()
        assert self.kind_of(answer) is Kind.UNREACHABLE
        assert self.node.rows() == []

    def test_the_cas_word_is_written_down_when_the_store_is_back(self) -> None:
        answer = Deferred[Outcome]()
        self.ca.script = [answer]
        request = csr()
        waiting = self.node.ask(request)
        self.node.broken = True
        answer.callback(self.ca.issue(request))
        self.assertNoResult(waiting)
        self.node.broken = False
        self.clock.advance(1)
        assert self.successResultOf(waiting).certificate is not None
        assert len(self.ca.asked) == 1


class Lost(Case):
    def test_a_lost_answer_is_never_submitted_again_by_itself(self) -> None:
        key = pki.ec_key()
        self.ca.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(csr(key))
        self.assertNoResult(answer)
        self.clock.advance(20)
        assert self.kind_of(answer) is Kind.UNDECIDED
        again = self.node.ask(csr(key))
        self.clock.advance(20)
        assert self.kind_of(again) is Kind.UNDECIDED
        assert len(self.ca.asked) == 1

    def test_whoever_is_told_to_come_back_is_told_with_an_error_of_their_own(self) -> None:
        """One for all would gather the frames of all who ever got it."""
        self.ca.script = [trouble(Kind.NO_ANSWER)]
        answers = [self.node.ask(request) for request in [csr()] * 2]
        self.clock.advance(20)
        first, second = (self.failureResultOf(answer, AuthorityError).value for answer in answers)
        assert first is not second

    def test_a_waiting_client_gets_what_is_found(self) -> None:
        request = csr()
        self.ca.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(request)
        (row,) = self.node.rows()
        self.successResultOf(
            Deferred.fromCoroutine(self.node.ledger.happen(Event.GRANTED, row, **granted(self.ca.issue(request))))
        )
        assert self.successResultOf(answer).certificate is not None

    def test_a_waiting_client_submits_again_what_is_proven_absent(self) -> None:
        self.ca.script = [trouble(Kind.NO_ANSWER)]
        answer = self.node.ask(csr())
        (row,) = self.node.rows()
        self.successResultOf(Deferred.fromCoroutine(self.node.ledger.happen(Event.ABSENT, row)))
        assert self.successResultOf(answer).certificate is not None
        assert len(self.ca.asked) == 2


class Waiting(Case):
    def test_wait_02_pending_answers_after_the_approval_time_and_again_later(self) -> None:
        key = pki.ec_key()
        self.ca.script = [Pending("17")]
        answer = self.node.ask(csr(key))
        self.clock.advance(59)
        self.assertNoResult(answer)
        self.clock.advance(1)
        answered = self.successResultOf(answer)
        assert (answered.enrollment.request_id, answered.certificate) == ("17", None)
        again = self.node.ask(csr(key))
        (row,) = self.node.rows()
        self.successResultOf(
            Deferred.fromCoroutine(self.node.ledger.happen(Event.GRANTED, row, **granted(self.ca.issue(csr(key)))))
        )
        assert self.successResultOf(again).certificate is not None
        assert len(self.ca.asked) == 1

    def test_wait_06_t15_the_same_bytes_twenty_times_a_second_are_one_request(self) -> None:
        request = csr()
        self.ca.script = [Pending("17")]
        answers = []
        for _ in range(20):
            answers.append(self.node.ask(request))
            self.clock.advance(0.05)
        assert self.node.states() == [State.PENDING]
        self.clock.advance(60)
        assert {self.successResultOf(answer).enrollment.request_id for answer in answers} == {"17"}
        assert len(self.ca.asked) == 1

    def test_wait_05_a_refusal_is_told_once(self) -> None:
        key = pki.ec_key()
        self.ca.script = [trouble(Kind.REFUSED)]
        for _ in range(2):  # not told until it was written out
            error = self.failureResultOf(self.node.ask(csr(key)), AuthorityError).value
            assert error.kind is Kind.REFUSED
        assert len(self.ca.asked) == 1
        error.written()
        assert self.node.states() == [State.CLOSED]
        assert self.successResultOf(self.node.ask(csr(key))).certificate is not None

    def test_who_waits_when_the_daemon_stops_is_answered_at_once(self) -> None:
        self.ca.script = [Pending("17"), trouble(Kind.NO_ANSWER)]
        pending, lost = self.node.ask(csr()), self.node.ask(csr())
        self.node.ledger.let_go()
        assert self.successResultOf(pending).certificate is None
        assert self.kind_of(lost) is Kind.UNDECIDED

    def test_nothing_is_left_of_a_client_that_stopped_waiting(self) -> None:
        self.ca.script = [Pending("17")]
        before = len(self.clock.getDelayedCalls())
        gone = self.node.ask(csr())
        assert len(self.clock.getDelayedCalls()) == before + 1
        gone.cancel()
        self.failureResultOf(gone)
        assert len(self.clock.getDelayedCalls()) == before
        assert not self.node.ledger._waiters


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
