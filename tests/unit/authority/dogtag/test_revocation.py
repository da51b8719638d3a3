"""kipuka.authority.dogtag.revocation at the stand-in, which answers as recorded; and the recordings themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from twisted.internet.defer import Deferred

from kipuka.authority.dogtag import DogtagAuthority, wire
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.revocation import MOST_WAITING
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Issued
from kipuka.authority.revoking import Effect, Reason, Revoked, Revokes
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag import revocation as dogtag_revocation
from tests.support.dogtag import transcript
from tests.support.dogtag.standin import URL, StandIn, now

RECORDED = [
    each
    for name in ("31-revoke", "32-unrevoke")
    for version in ("10.10.2", "11.9.1")
    for each in transcript.read(f"{version}/{name}.txt")
]


@pytest.fixture
def dogtag() -> StandIn:
    return StandIn()


@pytest.fixture
def authority(dogtag: StandIn) -> DogtagAuthority:
    return dogtag.authority()


@pytest.fixture
def serial(dogtag: StandIn, authority: DogtagAuthority) -> int:
    outcome = now(authority.enroll(EnrollmentRequest(pki.csr(pki.ec_key(), "CN=device"), None, "test")))
    assert isinstance(outcome, Issued)
    dogtag.calls.clear()
    return outcome.certificate.serial_number


def acts(dogtag: StandIn) -> list[str]:
    """What was done, the looks left out."""
    return [path.rpartition("/")[2] for method, path in dogtag.calls if method == "POST"]


def failure(authority: DogtagAuthority, serial: int, reason: Reason) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        now(authority.revoke(serial, reason))
    return caught.value


def test_it_can_be_asked_to() -> None:
    assert isinstance(StandIn().authority(), Revokes)


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.REMOVE_FROM_CRL])
def test_every_reason_goes_by_its_name(
    dogtag: StandIn, authority: DogtagAuthority, serial: int, reason: Reason
) -> None:
    revoked = now(authority.revoke(serial, reason))
    assert revoked.effect is (Effect.ON_HOLD if reason is Reason.CERTIFICATE_HOLD else Effect.REVOKED)
    assert (revoked.standing.reason, revoked.said) == (reason, "revocation complete, success")
    assert revoked.standing.since == datetime(2026, 11, 23, 13, 11, 23, tzinfo=UTC)
    assert dogtag.book.reasons == {serial: reason.code}
    assert now(authority.owns(serial)) == revoked.standing
    assert now(authority.status(dogtag.issued[serial])) is CertificateStatus.REVOKED
    assert acts(dogtag) == ["revoke"]


def test_the_names_are_the_recorded_ones() -> None:
    sent = {json.loads(wire.revocation_body(each, 1))["Reason"] for each in Reason}
    assert sent == set(dogtag_revocation.NAMES)
    recorded = {
        json.loads(each.body)["Reason"]
        for each in RECORDED
        if each.comment.split(" / ")[-1].startswith("reason ") and b'"Reason": "' in each.body
    }
    assert sent <= recorded


def test_from_hold_to_anything(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    now(authority.revoke(serial, Reason.CERTIFICATE_HOLD))
    assert now(authority.revoke(serial, Reason.CERTIFICATE_HOLD)).effect is Effect.ON_HOLD
    assert acts(dogtag) == ["revoke"]
    assert now(authority.revoke(serial, Reason.REMOVE_FROM_CRL)).effect is Effect.RELEASED
    assert now(authority.revoke(serial, Reason.REMOVE_FROM_CRL)).effect is Effect.NOT_ON_HOLD
    assert acts(dogtag) == ["revoke", "unrevoke"]
    now(authority.revoke(serial, Reason.CERTIFICATE_HOLD))
    assert now(authority.revoke(serial, Reason.SUPERSEDED)).effect is Effect.REVOKED
    assert acts(dogtag) == ["revoke", "unrevoke", "revoke", "unrevoke", "revoke"]


def test_revoked_for_good(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    now(authority.revoke(serial, Reason.SUPERSEDED))
    for reason in (Reason.KEY_COMPROMISE, Reason.CERTIFICATE_HOLD, Reason.SUPERSEDED):
        again = now(authority.revoke(serial, reason))
        assert (again.effect, again.standing.reason) == (Effect.ALREADY_REVOKED, Reason.SUPERSEDED)
    assert failure(authority, serial, Reason.REMOVE_FROM_CRL).kind is Kind.CONFLICT
    assert acts(dogtag) == ["revoke"]


def test_nobodys_number_and_the_cas_own(dogtag: StandIn, authority: DogtagAuthority) -> None:
    assert now(authority.owns(0xABCDEF)) is None
    assert failure(authority, 0xABCDEF, Reason.SUPERSEDED).kind is Kind.NOT_FOUND
    own = dogtag.issuer.certificate.serial_number
    assert failure(authority, own, Reason.SUPERSEDED).kind is Kind.CONFLICT
    assert acts(dogtag) == []


def test_a_nonce_that_is_gone_is_fetched_again_once(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    gone = Answer(400, "application/json", b'{"Code":400,"Message":"Nonce for cert-revoke 16 does not exist"}')
    dogtag.answer_next(gone, after=1)
    assert now(authority.revoke(serial, Reason.SUPERSEDED)).effect is Effect.REVOKED
    assert acts(dogtag) == ["revoke", "revoke"]


@pytest.mark.parametrize("status", [400, 403])
def test_not_for_ever(dogtag: StandIn, authority: DogtagAuthority, serial: int, status: int) -> None:
    gone = Answer(status, "application/json", b'{"Message":"Invalid nonce: 1"}')
    dogtag.answer_next(gone, after=1)
    dogtag.answer_next(gone, after=3)
    assert "Invalid nonce" in failure(authority, serial, Reason.SUPERSEDED).cause
    assert acts(dogtag) == ["revoke", "revoke"]


def test_a_server_that_was_restarted_between(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    now(authority.revoke(serial, Reason.CERTIFICATE_HOLD))
    dogtag.book.restart()
    assert now(authority.revoke(serial, Reason.REMOVE_FROM_CRL)).effect is Effect.RELEASED


def test_a_lost_answer_is_looked_up_and_nothing_repeated(
    dogtag: StandIn, authority: DogtagAuthority, serial: int
) -> None:
    dogtag.lose_next(after=1)
    revoked = now(authority.revoke(serial, Reason.SUPERSEDED))
    assert (revoked.effect, revoked.said) == (Effect.REVOKED, "")
    assert acts(dogtag) == ["revoke"]


def test_success_is_not_believed(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    lie = Answer(200, "application/json", b'{"requestStatus":"complete","operationResult":"success"}')
    for after in (1, 3, 5, 7):
        dogtag.answer_next(lie, after=after)
    error = failure(authority, serial, Reason.SUPERSEDED)
    assert error.kind is Kind.BAD_ANSWER
    assert "VALID as before" in error.cause


def test_who_was_faster_with_another_reason_is_said(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    """Another agent revokes between the review and the act."""
    already = Answer(400, "application/json", b'{"Message":"certificate #10 has already been revoked"}')
    dogtag.answer_next(already, after=1)
    waiting = Deferred.fromCoroutine(authority.revoke(serial, Reason.SUPERSEDED))
    assert waiting.called
    dogtag.calls.clear()
    other = now(authority.revoke(serial, Reason.KEY_COMPROMISE))
    assert (other.effect, other.standing.reason) == (Effect.ALREADY_REVOKED, Reason.SUPERSEDED)


def test_half_done_is_said(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    now(authority.revoke(serial, Reason.CERTIFICATE_HOLD))
    dogtag.calls.clear()
    broken = Answer(500, "application/json", b'{"Message":"Failed to connect LDAP server"}')
    dogtag.answer_next(broken, after=2)  # review, unrevoke, then this
    error = failure(authority, serial, Reason.KEY_COMPROMISE)
    assert "taken off hold" in error.text
    assert "LDAP" in error.cause
    assert serial not in dogtag.revoked
    assert now(authority.revoke(serial, Reason.KEY_COMPROMISE)).effect is Effect.REVOKED


@pytest.mark.parametrize("credential", ["user", "stranger", "none"])
def test_who_is_no_agent(dogtag: StandIn, serial: int, credential: str) -> None:
    authority = dogtag.authority(credential)
    assert now(authority.owns(serial)) is not None
    assert failure(authority, serial, Reason.SUPERSEDED).kind is Kind.MISCONFIGURED


def test_with_ldap_down_nothing_is_certain(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    dogtag.ldap_down = True
    with pytest.raises(AuthorityError) as caught:
        now(authority.owns(serial))
    assert caught.value.kind is not Kind.NOT_FOUND
    assert failure(authority, serial, Reason.SUPERSEDED).kind is not Kind.NOT_FOUND


def test_one_after_the_other_in_a_session_of_its_own(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    first: list[object] = []
    dogtag.hang_next()
    hung = Deferred.fromCoroutine(authority.revoke(serial, Reason.SUPERSEDED)).addErrback(first.append)
    second: list[Revoked] = []
    Deferred.fromCoroutine(authority.revoke(serial, Reason.SUPERSEDED)).addCallback(second.append)
    assert len(dogtag.calls) == 1
    dogtag.clock.advance(30)
    assert hung.called
    assert second[0].effect is Effect.REVOKED


def test_few_wait_at_a_ca_that_hangs_and_none_is_begun_late(
    dogtag: StandIn, authority: DogtagAuthority, serial: int
) -> None:
    for number in range(200):
        dogtag.hang_next(after=number)
    troubles: list[AuthorityError] = []

    async def revoke() -> None:
        try:
            await authority.revoke(serial, Reason.SUPERSEDED)
        except AuthorityError as trouble:
            troubles.append(trouble)

    for _ in range(200):
        Deferred.fromCoroutine(revoke())
    assert len(troubles) == 200 - 1 - MOST_WAITING
    assert {each.kind for each in troubles} == {Kind.BUSY}
    dogtag.clock.advance(30)
    assert len(troubles) >= 198  # at most one has got its turn in the last moment
    dogtag.clock.advance(30)
    assert len(troubles) == 200
    assert len(dogtag.calls) <= 2
    assert authority._revocation._turn.locked is False


def acted(condition: Callable[[transcript.Exchange], bool]) -> list[transcript.Exchange]:
    return [
        each
        for each in RECORDED
        if each.method == "POST" and each.answer.status == 200 and each.answer.is_json and condition(each)
    ]


def test_recorded_answers_say_whether_it_was_done() -> None:
    failed = acted(lambda each: b"could not be unrevoked" in each.answer.body)
    assert len(failed) == 6
    assert {wire.withdrawn(each.answer) for each in failed} == {
        (False, "unrevocation complete, error: One or more certificates could not be unrevoked")
    }
    done = acted(lambda each: b"could not be unrevoked" not in each.answer.body)
    assert {wire.withdrawn(each.answer) for each in done} == {
        (True, "revocation complete, success"),
        (True, "unrevocation complete, success"),
    }


def test_recorded_reviews_have_nonce_reason_and_time() -> None:
    shown = [
        wire.certificate(e.answer)
        for e in RECORDED
        if e.method == "GET" and e.answer.status == 200 and e.answer.is_json
    ]
    nonces = [each.nonce for each in shown if each.nonce is not None]
    assert 5236538133280606876 in nonces  # more than a float holds
    assert min(nonces) < 0
    revoked = [each for each in shown if each.status == "REVOKED"]
    assert {each.reason for each in revoked} == {10, 6}
    assert {each.revoked_on.date().isoformat() for each in revoked if each.revoked_on} == {"2026-11-23"}


@pytest.mark.parametrize(
    ("member", "value"),
    [("Nonce", "x"), ("Nonce", "1" * 30), ("RevokedOn", 1.5), ("RevokedOn", "9" * 20), ("RevocationReason", True)],
)
def test_what_is_no_number_is_a_bad_answer(dogtag: StandIn, member: str, value: object) -> None:
    record = dogtag._record(dogtag.issuer.certificate) | {member: value}
    with pytest.raises(AuthorityError) as caught:
        wire.certificate(Answer(200, "application/json", json.dumps(record).encode()))
    assert caught.value.kind is Kind.BAD_ANSWER


def test_the_stand_in_answers_in_the_recorded_shape(dogtag: StandIn, serial: int) -> None:
    """Each kind of answer of 10.10.2, from the stand-in and from the recording."""
    client = Client(URL, dogtag.agent(), dogtag.clock)
    path = f"/ca/rest/agent/certs/{serial:#x}"
    stranger = Client(URL, dogtag.agent("user"), dogtag.clock)
    nonce = wire.certificate(now(client.get(path))).nonce
    made = [
        ("not an agent", now(stranger.post(f"{path}/revoke", b'{"Reason": "Unspecified"}'))),
        ("agent, no nonce", now(client.post(f"{path}/revoke", b'{"Reason": "Unspecified"}'))),
        ("reason Unspecified", now(client.post(f"{path}/revoke", wire.revocation_body(Reason.UNSPECIFIED, nonce)))),
        ("agent, wrong nonce", now(client.post(f"{path}/revoke", wire.revocation_body(Reason.UNSPECIFIED, nonce)))),
        ("review of a revoked one", now(client.get(path))),
        ("not on hold any more", now(client.post(f"{path}/unrevoke", b""))),
        ("unknown serial", now(client.get("/ca/rest/agent/certs/0xfffffff"))),
    ]
    for comment, answer in made:
        recorded = next(each.answer for each in RECORDED if each.comment.split(" / ")[-1] == comment)
        assert (answer.status, answer.content_type) == (recorded.status, recorded.content_type), comment
        assert shape(json.loads(answer.body)) == shape(json.loads(recorded.body)), comment


def shape(value: object, member: str = "") -> object:
    """The members and their types; of the words that decide an outcome also the value."""
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if name not in ("PrettyPrint", "Link", "RevokedBy")}
        return {name: shape(each, name) for name, each in kept.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    decisive = ("requestType", "requestStatus", "operationResult", "errorMessage", "ClassName", "Code", "Status")
    return value if member in decisive else type(value)


def test_its_calls_are_counted_too(dogtag: StandIn, authority: DogtagAuthority, serial: int) -> None:
    dogtag.observed.clear()
    now(authority.revoke(serial, Reason.SUPERSEDED))
    told = [(operation, outcome) for operation, outcome, _ in dogtag.observed]
    assert told == [("certificate-review", "2xx"), ("revoke", "2xx"), ("certificate-review", "2xx")]
