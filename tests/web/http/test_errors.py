"""What each refusal looks like from outside."""

from __future__ import annotations

import re

import pytest
from cryptography.x509.oid import NameOID
from twisted.python.failure import Failure

from kipuka.authority.interface import EnrollmentRequest, Outcome
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.web.http import errors
from tests.support import pki
from tests.web.fakes import RETRY_AFTER, World, basic, body
from tests.web.wire import EST, Answer, message

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
PATH = f"{EST}/simpleenroll"

STATUS = {
    Kind.MALFORMED: 400,
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.REFUSED: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_TYPE: 415,
    Kind.TOO_MANY: 429,
    Kind.INTERNAL: 500,
    Kind.NOT_OFFERED: 501,
    Kind.MISCONFIGURED: 502,
    Kind.BAD_ANSWER: 502,
    Kind.UNREACHABLE: 503,
    Kind.BUSY: 503,
    Kind.UNDECIDED: 503,
    Kind.NO_ANSWER: 504,
}
NOTHING_DONE = (Kind.INVALID, Kind.MISCONFIGURED, Kind.TOO_LARGE, Kind.UNREACHABLE, Kind.BUSY)
LEFT_OPEN = (Kind.BAD_ANSWER, Kind.NO_ANSWER, Kind.INTERNAL)


def failing(world: World, error: Exception) -> Answer:
    def outcome(_: EnrollmentRequest) -> Outcome:
        raise error

    world.main.outcome = outcome
    return world.client().post(PATH, CSR, authorization=basic())


@pytest.mark.parametrize("kind", Kind)
def test_err_01_err_06_each_kind_has_its_status(kind: Kind) -> None:
    answer = errors.refusal(RequestError(kind, "Sentence."), 5)
    assert answer.status == STATUS[kind]
    assert (("Retry-After", "5") in answer.headers) == (answer.status in {429, 502, 503, 504})
    assert set(STATUS) == set(Kind)


@pytest.mark.parametrize(
    ("status", "method", "path", "content", "fields"),
    [
        (400, "POST", PATH, b"%", {}),
        (401, "POST", PATH, CSR, {"authorization": None}),
        (403, "POST", f"{EST}/mtls/simpleenroll", CSR, {}),
        (404, "POST", f"{EST}/nope/simpleenroll", CSR, {}),
        (404, "GET", f"{EST}/nope", None, {}),
        (405, "GET", PATH, None, {}),
        (411, "POST", PATH, None, {}),
        (413, "POST", PATH, CSR + b"\n" * 70_000, {}),
        (415, "POST", PATH, CSR, {"content_type": "text/plain"}),
        (501, "POST", f"{EST}/fullcmc", CSR, {}),
    ],
)
@pytest.mark.parametrize("user_agent", [None, "curl/8"])
def test_err_02_err_06_the_client_s_own_faults(
    world: World,
    status: int,
    method: str,
    path: str,
    content: bytes | None,
    fields: dict[str, str | None],
    user_agent: str | None,
) -> None:
    usual = {"content_type": "application/pkcs10", "authorization": basic(), "user_agent": user_agent}
    answer = world.client().request(method, path, content, **usual | fields)
    assert answer.status == status
    if status == 401 and user_agent is None:
        assert answer.body == b""  # Bouncy Castle
    else:
        assert re.fullmatch(r"[A-Z].+\n", answer.text)


@pytest.mark.parametrize("kind", NOTHING_DONE)
def test_err_06_err_07_load_01_each_kind_from_the_ca(world: World, kind: Kind) -> None:
    answer = failing(
        world, AuthorityError(kind, "The CA says no: ask its agents.", "https://ca.internal:8443 said 403")
    )
    assert answer.status == STATUS[kind]
    assert answer.text.startswith("The CA says no: ask its agents. (reference ")
    assert answer.field("Retry-After") == (str(RETRY_AFTER) if answer.status in {502, 503, 504} else None)
    assert b"internal" not in answer.body
    assert world.audited[-1][1]["cause"] == "https://ca.internal:8443 said 403"


def test_err_06_wait_05_a_refusal_of_the_ca(world: World) -> None:
    answer = failing(world, AuthorityError(Kind.REFUSED, "The CA says no: ask its agents."))
    assert answer.status == 403
    assert answer.text.startswith("The CA says no: ask its agents. (reference ")
    assert world.events[-2:] == [Event.REFUSED, Event.TOLD]


@pytest.mark.parametrize("kind", LEFT_OPEN)
def test_err_06_load_01_what_leaves_open_whether_the_ca_has_issued(world: World, kind: Kind) -> None:
    answer = failing(world, AuthorityError(kind, "The CA broke.", "https://ca.internal:8443"))
    assert (answer.status, answer.field("Retry-After")) == (503, str(RETRY_AFTER))
    assert b"internal" not in answer.body
    assert world.events[-1] is Event.LOST


def test_err_07_a_ca_that_does_not_accept_kipuka_is_not_the_client_s_fault(world: World) -> None:
    answer = failing(world, AuthorityError(Kind.MISCONFIGURED, "The CA does not accept this server."))
    assert answer.status == 502
    assert answer.field("WWW-Authenticate") is None


def test_load_01_the_ca_certificates_when_the_ca_is_away(world: World) -> None:
    world.main.chain_error = AuthorityError(Kind.UNREACHABLE, "The CA is away: try again later.")
    answer = world.client().get(f"{EST}/cacerts")
    assert (answer.status, answer.field("Retry-After")) == (503, str(RETRY_AFTER))


def test_t8_retry_after_is_never_zero() -> None:
    answer = errors.refusal(AuthorityError(Kind.BUSY, "Later."), 0)
    assert ("Retry-After", "1") in answer.headers


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), KeyError("secret"), AssertionError("secret")])
def test_err_04_the_unexpected_at_the_ca_is_told_only_to_the_log_and_leaves_the_request_open(
    world: World, error: Exception, failures: list[Failure]
) -> None:
    answer = failing(world, error)
    assert answer.status == 503
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [failure.value for failure in failures] == [error]
    failures.clear()
    assert world.events[-1] is Event.LOST


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), KeyError("secret"), AssertionError("secret")])
def test_err_04_the_unexpected_is_500_and_told_only_to_the_log(
    world: World, error: Exception, failures: list[Failure]
) -> None:
    world.main.chain_error = error
    answer = world.client().get(f"{EST}/cacerts")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [failure.value for failure in failures] == [error]
    failures.clear()


def test_err_05_the_reference_is_in_the_audit_too(world: World) -> None:
    answer = world.client().post(PATH, b"%", authorization=basic())
    reference = re.search(r"\(reference ([0-9a-f]{8})\)\n$", answer.text)
    assert reference is not None
    event, facts = world.audited[-1]
    assert event == "refusal"
    assert facts["reference"] == reference[1]
    assert facts["kind"] == "malformed"


def test_an_audit_that_fails_is_500_and_no_client_waits_for_ever(world: World, failures: list[Failure]) -> None:
    def broken(record: object) -> None:
        raise OSError("disk full")

    world.operations.gate._audit = broken
    for content in (CSR, b"%"):
        answer = world.client().post(PATH, content, authorization=basic())
        assert answer.status == 500
        assert "disk" not in answer.text
    assert failures
    failures.clear()


def test_err_04_client_text_does_not_come_back_raw(world: World) -> None:
    csr = pki.csr(pki.ec_key(), pki.x509.Name([pki.x509.NameAttribute(NameOID.COMMON_NAME, "<b>X: y\u202ebob")]))
    answer = world.client().post(f"{EST}/named/simpleenroll", body(csr), authorization=basic(), user_agent="x")
    assert answer.status == 403
    assert answer.body.count(b"\n") == 1
    assert answer.body.isascii()


def test_err_08_statuses_that_no_est_client_knows_are_not_used() -> None:
    assert not {423, 425, 418} & set(STATUS.values())


ROUTES = [
    ("GET", f"{EST}/cacerts"),
    ("HEAD", f"{EST}/cacerts"),
    ("GET", f"{EST}/p384/csrattrs"),
    ("GET", f"{EST}/csrattrs"),
    ("GET", f"{EST}/nope/cacerts"),
    ("GET", "/"),
    ("GET", "/..%2f"),
    ("PUT", f"{EST}/cacerts"),
    ("POST", PATH),
    ("POST", f"{EST}/both/simpleenroll"),
    ("POST", f"{EST}/simplereenroll"),
    ("POST", f"{EST}/fullcmc"),
    ("POST", f"{EST}/serverkeygen"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "fields", [{}, {"authorization": basic()}, {"authorization": basic("a", "b")}, {"accept": "*/*"}]
)
def test_enc_08_enc_22_t4_t5_each_answer_is_short_and_not_chunked(
    world: World, method: str, path: str, fields: dict[str, str]
) -> None:
    client = world.client()
    client.send(
        message(method, path, CSR if method in {"POST", "PUT"} else None, content_type="application/pkcs10", **fields)
    )
    head, end, _ = client.transport.value().partition(b"\r\n\r\n")
    assert end
    assert len(head) + 4 <= 1024
    assert head.count(b"\r\n") <= 16
    assert b"\r\ntransfer-encoding" not in head.lower()
    assert head.startswith(b"HTTP/1.1 204") or b"\r\nContent-Length: " in head
