"""What the admin API changes: enrollments are abandoned, certificates revoked."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kipuka.errors import AuthorityError, Kind, KipukaError, RequestError
from kipuka.observe.audit.record import AuditEvent
from tests.web.admin.world import REASONS, Office, error, not_found, value
from tests.web.wire import message


def test_abandon(admin: Office) -> None:
    admin.enroll(pending=True)
    (row,) = value(admin.get("/admin/enrollments"))["items"]
    ended = value(admin.post(f"/admin/enrollments/{row['id']}/abandon"))
    assert ended["state"] == "closed"
    error(admin.post(f"/admin/enrollments/{row['id']}/abandon"), 409, "conflict")
    error(admin.post("/admin/enrollments/999/abandon"), 404, "not_found")
    actions = [facts for event, facts in admin.world.audited if event == "admin action"]
    assert [(facts["caller"], facts["enrollment"], facts["outcome"]) for facts in actions] == [
        ("token:both", row["id"], "done"),
        ("token:both", row["id"], "failed"),
        ("token:both", 999, "failed"),
    ]


@pytest.mark.parametrize(
    ("written", "serial"),
    [("0x1A2B", 0x1A2B), ("1a2b", 0x1A2B), ("1A:2B", 0x1A2B), ("decimal:6699", 6699), ("10", 0x10)],
)
def test_revoke(admin: Office, written: str, serial: int) -> None:
    answer = admin.post("/admin/revoke", {"serial": written, "reason": "keyCompromise", "ca_id": "main"}, "revoke")
    assert value(answer) == {"serial": f"0x{serial:x}", "ca_id": "main", "outcome": "revoked"}
    assert admin.revocation.asked == [(serial, "keyCompromise", "main", "token:revoke")]
    ((event, facts),) = admin.world.audited
    assert event == "revocation"
    assert {key: said for key, said in facts.items() if said is not None} == {
        "event": AuditEvent.REVOCATION,
        "reference": facts["reference"],
        "tls": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "operation": "POST /admin/revoke keyCompromise",
        "address": "192.0.2.9",
        "caller": "token:revoke",
        "serial": f"0x{serial:x}",
        "ca": "main",
        "outcome": "revoked",
    }


def test_the_reason_is_unspecified_when_none_is_given(admin: Office) -> None:
    assert admin.post("/admin/revoke", {"serial": "1"}).status == 200
    assert admin.revocation.asked[0][1:3] == ("unspecified", None)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 60000, "not JSON"),
        (b'{"serial": "1", "serial": "2"}', "not JSON"),
        (b'{"serial": NaN}', "not JSON"),
        (b'\xff{"serial": "1"}', "not JSON"),
        (b'["0x1"]', "not a JSON object"),
        (b"{}", '"serial" is missing'),
        (b'{"serial": 26}', '"serial" must be text'),
        (b'{"serial": null}', '"serial" must be text'),
        (b'{"serial": "0xQ"}', '"serial"'),
        (b'{"serial": "-1"}', '"serial"'),
        (b'{"serial": ""}', '"serial"'),
        (b'{"serial": "1", "reason": "Because"}', ", ".join(REASONS)),
        (b'{"serial": "1", "reason": 1}', '"reason" must be text'),
        (b'{"serial": "1", "ca_id": "a/b"}', '"ca_id"'),
        (b'{"serial": "1", "caid": "a"}', '"caid"'),
    ],
)
def test_a_body_that_cannot_be_obeyed_is_refused_by_name(admin: Office, body: bytes, named: str) -> None:
    assert named in error(admin.post("/admin/revoke", body), 400, "malformed")
    assert not admin.revocation.asked


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/pkcs10", "application/json; charset=latin-1", "application/json\xff"]
)
def test_another_media_type(admin: Office, kind: str | None) -> None:
    error(admin.post("/admin/revoke", {"serial": "1"}, content_type=kind), 415, "unsupported_type")


def test_a_form_is_refused_before_it_is_read(admin: Office) -> None:
    message = error(
        admin.post("/admin/revoke", b"serial=1", content_type="application/x-www-form-urlencoded"),
        415,
        "unsupported_type",
    )
    assert "application/json" in message


def test_a_body_over_the_limit(admin: Office) -> None:
    error(admin.post("/admin/revoke", b" " * (admin.world.limits.body + 1)), 413, "too_large")


def test_a_body_of_no_announced_length_is_none_and_no_request_either(admin: Office) -> None:
    smuggled = message("POST", "/admin/revoke", b'{"serial": "1"}', content_type="application/json")
    answer = admin.post("/admin/revoke", smuggled, content_length=None)
    error(answer, 400, "malformed")
    assert answer.field("Connection") == "close"
    assert not admin.revocation.asked


def test_a_change_that_needs_no_body(admin: Office) -> None:
    """``curl -X POST`` announces no length."""
    admin.enroll(pending=True)
    answer = admin.request("POST", "/admin/enrollments/1/abandon", content_length=None)
    assert value(answer)["state"] == "closed"
    error(admin.request("POST", "/admin/revoke", content_length=None), 415, "unsupported_type")


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (not_found(), 404),
        (RequestError(Kind.CONFLICT, "Several CAs have it (a, b): add ca_id."), 409),
        (AuthorityError(Kind.MISCONFIGURED, "The CA does not accept kipuka: tell its administrator."), 502),
        (AuthorityError(Kind.UNREACHABLE, "The CA cannot be reached: try again later."), 503),
        (AuthorityError(Kind.NO_ANSWER, "The CA did not answer: try again later."), 504),
        (AuthorityError(Kind.REFUSED, "The CA refused it: ask its administrator."), 403),
    ],
)
def test_what_a_ca_says_about_a_revocation(admin: Office, raised: KipukaError, status: int) -> None:
    admin.revocation.error = raised
    answer = admin.post("/admin/revoke", {"serial": "1"})
    error(answer, status, raised.kind.value)
    assert answer.field("WWW-Authenticate") is None
    ((event, facts),) = admin.world.audited
    assert (event, facts["outcome"], facts["kind"]) == ("revocation", "failed", raised.kind.value)


def test_a_fault_of_ours_is_told_without_detail(admin: Office, failures: list[Failure]) -> None:
    admin.revocation.error = ZeroDivisionError("secret detail")
    assert "secret" not in error(admin.post("/admin/revoke", {"serial": "1"}), 500, "internal")
    assert failures.pop().check(ZeroDivisionError)
    assert [facts["outcome"] for _, facts in admin.world.audited] == ["failed"]


def test_a_client_that_goes_away_does_not_stop_a_revocation(admin: Office) -> None:
    admin.revocation.waits_for = Deferred()
    client = admin.client()
    headers = {"authorization": f"Bearer {admin.tokens['both']}", "content_type": "application/json"}
    client.send(message("POST", "/admin/revoke", b'{"serial": "1"}', **headers))
    client.hang_up(clean=False)
    assert not admin.world.audited
    admin.revocation.waits_for.callback(None)
    ((event, facts),) = admin.world.audited
    assert (event, facts["outcome"]) == ("revocation", "revoked")
