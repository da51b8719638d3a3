"""Requests on their way to the CA and back: submitted once, waited for, found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred, maybeDeferred

from kipuka.authority.interface import EnrollmentRequest, Names, Outcome, Pending
from kipuka.enrollment.ledger.application import application
from kipuka.enrollment.ledger.ledger import QUEUE
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.submission import granted
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.case import Case, trouble
from tests.unit.enrollment.office import ALICE, BOB, csr, der

KEY = ec.derive_private_key(4711, ec.SECP256R1())


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

    def test_wait_03_the_same_names_and_uses_in_another_order_join(self) -> None:
        key, uses = pki.ec_key(), [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        names = ["b.example", "192.0.2.1", "a.example"]
        for turn in (1, -1):
            asked = [(x509.ExtendedKeyUsage(uses[::turn]), False)]
            self.successResultOf(self.node.ask(csr(key, alternative=pki.san(*names[::turn]), extensions=asked)))
        assert len(self.ca.asked) == 1
        self.successResultOf(self.node.ask(csr(key, alternative=pki.san(*names[1:]), extensions=asked)))
        assert len(self.ca.asked) == 2

    def test_the_order_of_names_that_are_to_be_changed_does_not_count_either(self) -> None:
        keys = {
            self.identity(csr(KEY), Names(pki.name("CN=a"), pki.san(*names)))
            for names in (("a.example", "b.example"), ("b.example", "a.example"))
        }
        assert len(keys) == 1

    def test_the_key_of_one_name_and_one_use_stays_what_it_was(self) -> None:
        """Rows of a ledger outlive a release: their requests must find them again."""
        names, use = pki.san("a.example"), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        plain = csr(KEY, "CN=a,O=b", alternative=names)
        assert self.identity(plain) == "1d458f7b2fadf8f5ba711c7ab6e09233b1f2235ff7ac3ced68d20a28b3353a1d"
        with_use = csr(KEY, "CN=a,O=b", alternative=names, extensions=[(use, False)])
        assert self.identity(with_use) == "4d3589563236a868e7d746143f5dc25c56733bb369a9c94d509bc728bd1cc59d"

    @staticmethod
    def identity(request: x509.CertificateSigningRequest, names: Names | None = None) -> str:
        asked = EnrollmentRequest(request, None, "x", names)
        return application(asked, ALICE, operation="simpleenroll", label="lab", ca_id="fake").key

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
