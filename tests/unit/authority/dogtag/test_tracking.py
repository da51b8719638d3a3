"""Following pending requests at a Dogtag: one list for all, and how one of them stands."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.authority.dogtag import tracking
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import Tracking
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import (
    EnrollmentRequest,
    Issued,
    Pending,
    PendingRequests,
    Refused,
    TracksRequests,
    Undecided,
)
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag import transcript
from tests.support.dogtag.standin import HTML_404, StandIn, now

MANUAL = "kipukaServerManual"
LISTS_11 = transcript.read("11.9.1/20-agent-list.txt")
ENDS = transcript.read("10.10.2/26-requests.txt")
LDAP_DOWN = transcript.read("10.10.2/66-requests-ds-down.txt")
DELETED = transcript.read("10.10.2/36-profile-deleted.txt")


class Told:
    """Gives the prepared answers in their order and notes what was asked."""

    def __init__(self, *prepared: Answer) -> None:
        self._prepared = list(prepared)
        self.asked: list[tuple[Operation, str, str]] = []

    async def __call__(
        self,
        operation: Operation,
        value: str = "",
        body: bytes | None = None,
        *,
        query: str = "",
        limit: int | None = None,
    ) -> Answer:
        assert body is None
        self.asked.append((operation, value, query))
        return self._prepared.pop(0)

    def maximum(self) -> int:
        return int(self.asked[-1][2].partition("maxResults=")[2].partition("&")[0])


def waiting(dogtag: StandIn, count: int = 1) -> list[str]:
    """Have so many requests wait for an agent."""
    authority = dogtag.authority()
    numbers = []
    for _ in range(count):
        outcome = now(authority.enroll(EnrollmentRequest(pki.csr(pki.ec_key(), "CN=waiting"), MANUAL, "test")))
        assert isinstance(outcome, Pending)
        numbers.append(outcome.request_id)
    dogtag.calls.clear()
    return numbers


def a_list(length: int) -> Answer:
    return answers.listed([answers.request(number, "pending") for number in range(length)])


def test_a_dogtag_tracks_requests() -> None:
    assert isinstance(StandIn().authority(), TracksRequests)


# --- the list


def test_what_is_pending_takes_one_call_however_much_it_is() -> None:
    dogtag = StandIn()
    numbers = waiting(dogtag, 5)
    assert now(dogtag.authority().still_pending(5)) == PendingRequests(frozenset(numbers), complete=True)
    assert len(dogtag.calls) == 1


def test_a_decided_request_vanishes_from_the_list() -> None:
    dogtag = StandIn()
    approved, rejected, left = waiting(dogtag, 3)
    dogtag.approve(int(approved))
    dogtag.reject(int(rejected))
    assert now(dogtag.authority().still_pending(3)).ids == {left}


def test_more_are_asked_for_than_kipuka_has_waiting() -> None:
    call = Told(a_list(1))
    now(Tracking(call).pending(10_000))
    assert call.maximum() > 20_000


def test_others_requests_are_counted_in_from_the_second_list_on() -> None:
    call = Told(a_list(900), a_list(900))
    followed = Tracking(call)
    now(followed.pending(1))
    before = call.maximum()
    now(followed.pending(1))
    assert call.maximum() > max(before, 1800)


def test_a_list_as_long_as_it_may_be_is_taken_for_cut_and_the_next_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_SPARE", 2)
    dogtag = StandIn()
    numbers = waiting(dogtag, 6)
    authority = dogtag.authority()
    cut = now(authority.still_pending(1))
    assert (len(cut.ids), cut.complete) == (4, False)
    assert now(authority.still_pending(1)) == PendingRequests(frozenset(numbers), complete=True)


def test_10_10_cuts_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_SPARE", 0)
    cut = next(each.answer for each in ENDS if each.path.endswith("maxResults=2"))
    pending = now(Tracking(Told(cut)).pending(1))
    assert (len(pending.ids), pending.complete) == (2, False)


def test_11_9_fails_when_there_are_more_and_is_asked_for_more_next_time() -> None:
    complete, failed = (each.answer for each in LISTS_11)
    call = Told(failed, complete)
    followed = Tracking(call)
    assert now(followed.pending(1)) == PendingRequests(frozenset(), complete=False)
    before = call.maximum()
    pending = now(followed.pending(1))
    assert call.maximum() > 2 * before
    assert (len(pending.ids), pending.complete) == (39, True)
    assert "169887855446516496452686126500578791834" in pending.ids  # 0x7fcf...: 128 bits


def test_there_is_an_end_to_what_is_asked_for() -> None:
    call = Told(a_list(0))
    now(Tracking(call).pending(10**9))
    assert call.maximum() <= 100_000


def test_ten_thousand_pending_requests_come_through_the_real_client() -> None:
    dogtag = StandIn()
    dogtag.requests = {number: answers.request(number, "pending") for number in range(10_000)}
    pending = now(dogtag.authority().still_pending(10_000))
    assert (len(pending.ids), pending.complete) == (10_000, True)


def test_an_answer_without_measure_is_not_read() -> None:
    dogtag = StandIn()
    dogtag.answer_next(Answer(200, "application/json", b" " * 2_000_000))
    with pytest.raises(AuthorityError) as caught:
        now(dogtag.authority().still_pending(1))
    assert caught.value.kind is Kind.BAD_ANSWER


@pytest.mark.parametrize(
    "answer", [LDAP_DOWN[0].answer, HTML_404, answers.no_ldap(), Answer(503, "", b""), Answer(200, "text/html", b"?")]
)
def test_trouble_is_no_empty_list(answer: Answer) -> None:
    with pytest.raises(AuthorityError):
        now(Tracking(Told(answer)).pending(1))


def test_with_ldap_down_the_log_says_that_it_may_be_ldap() -> None:
    dogtag = StandIn(ldap_down=True)
    with pytest.raises(AuthorityError, match="LDAP"):
        now(dogtag.authority().still_pending(1))


# --- one request


def test_a_pending_request_is_pending() -> None:
    dogtag = StandIn()
    (number,) = waiting(dogtag)
    assert now(dogtag.authority().progress(number)) == Pending(number)
    assert len(dogtag.calls) == 1


def test_an_approved_request_comes_with_its_certificate() -> None:
    dogtag = StandIn()
    (number,) = waiting(dogtag)
    dogtag.approve(int(number))
    outcome = now(dogtag.authority().progress(number))
    assert isinstance(outcome, Issued)
    der = outcome.certificate.public_bytes(Encoding.DER)
    assert der in [each.public_bytes(Encoding.DER) for each in dogtag.issued.values()]
    assert len(dogtag.calls) == 2


@pytest.mark.parametrize(
    ("status", "notes", "reason"),
    [
        ("rejected", "not in the list", "rejected: not in the list"),
        ("canceled", "asked twice", "canceled: asked twice"),
        ("rejected", "", "rejected"),
        ("canceled", "", "canceled"),
    ],
)
def test_a_refusal_comes_with_the_agents_reason(status: str, notes: str, reason: str) -> None:
    dogtag = StandIn()
    (number,) = waiting(dogtag)
    dogtag.reject(int(number), notes, status)
    assert now(dogtag.authority().progress(number)) == Refused(reason)


def recorded_end(comment: str) -> Refused | object:
    shown, review = (each for each in ENDS if each.comment.endswith(comment))
    return now(Tracking(Told(shown.answer, review.answer)).progress(shown.path.rpartition("/")[2]))


def test_reasons_as_a_real_one_gives_them() -> None:
    noted = "Serial number is not in the asset list; ask in room 12 \u2603"
    assert recorded_end("reject, with notes of the agent") == Refused(f"rejected: {noted}")
    assert recorded_end("cancel, with notes of the agent") == Refused(f"canceled: {noted}")
    assert recorded_end("reject, without notes of the agent") == Refused("rejected")
    assert recorded_end("cancel, without notes of the agent") == Refused("canceled")
    policy = "Key Parameters 2048,3072,4096,nistp256,nistp384,nistp521 Not Matched"
    assert recorded_end("refused by the profile's policy") == Refused(policy)


def test_an_agents_novel_is_cut_to_one_line() -> None:
    dogtag = StandIn()
    (number,) = waiting(dogtag)
    dogtag.reject(int(number), "no\x1b[31m\n" * 10_000)
    outcome = now(dogtag.authority().progress(number))
    assert isinstance(outcome, Refused)
    assert len(outcome.reason) < 300
    assert outcome.reason.isprintable()


def test_without_a_review_the_refusal_has_no_reason() -> None:
    shown = answers.success(answers.request(7, "rejected"))
    deleted = DELETED[1].answer
    assert now(Tracking(Told(shown, deleted)).progress("7")) == Refused("rejected")


def test_a_reason_that_cannot_be_read_now_is_waited_for() -> None:
    shown = answers.success(answers.request(7, "rejected"))
    assert isinstance(now(Tracking(Told(shown, LDAP_DOWN[1].answer)).progress("7")), Undecided)


@pytest.mark.parametrize("status", ["begin", "approved", "svc_pending", "something new"])
def test_states_on_the_way_decide_nothing(status: str) -> None:
    outcome = now(Tracking(Told(answers.success(answers.request(7, status)))).progress("7"))
    assert isinstance(outcome, Undecided)
    assert status in outcome.why


@pytest.mark.parametrize(
    "answer",
    [LDAP_DOWN[2].answer, answers.HTML_401, answers.no_ldap(), HTML_404, Answer(503, "", b""), Answer(302, "", b"")],
    ids=["404 with LDAP down", "401", "500", "not deployed", "503", "302"],
)
def test_nothing_but_dogtags_word_ends_a_request(answer: Answer) -> None:
    assert isinstance(now(Tracking(Told(answer)).progress("3738")), Undecided)


def test_a_certificate_that_cannot_be_fetched_now_is_waited_for() -> None:
    complete = answers.success(answers.request(7, "complete", certificate=0x1F))
    outcome = now(Tracking(Told(complete, answers.no_ldap())).progress("7"))
    assert isinstance(outcome, Undecided)
    assert "0x1f" in outcome.why


def test_complete_without_a_certificate_decides_nothing() -> None:
    complete = answers.success(answers.request(7, "complete", message="Request 7 - Server Internal Error"))
    outcome = now(Tracking(Told(complete)).progress("7"))
    assert isinstance(outcome, Undecided)
    assert "Server Internal Error" in outcome.why


def test_another_request_than_asked_for_is_not_believed() -> None:
    with pytest.raises(AuthorityError) as caught:
        now(Tracking(Told(answers.success(answers.request(8, "rejected")))).progress("7"))
    assert caught.value.kind is Kind.BAD_ANSWER


def test_an_id_of_11_9_is_compared_as_a_number() -> None:
    number = 0x7FCF35F6F001BC078E8264A4188B119A
    entry = {"requestID": hex(number), "requestStatus": "pending", "operationResult": "success"}
    answer = Answer(200, "application/json", json.dumps(entry).encode())
    assert now(Tracking(Told(answer)).progress(str(number))) == Pending(str(number))


def test_an_unreachable_ca_is_an_error() -> None:
    async def away(*_: object, **__: object) -> Answer:
        raise AuthorityError(Kind.UNREACHABLE, "The CA cannot be reached: try again later.")

    for asked in (Tracking(away).pending(1), Tracking(away).progress("7")):
        with pytest.raises(AuthorityError):
            now(asked)
