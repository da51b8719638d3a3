"""The admin API over the wire: what is shown and done, and how it says no."""

from __future__ import annotations

import json
import re

import pytest
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kipuka.errors import AuthorityError, Kind, KipukaError, RequestError
from kipuka.observe.audit.record import AuditEvent
from kipuka.store.errors import StoreUnavailable
from kipuka.web.admin.api import AdminApi
from kipuka.web.admin.backend import Standing
from kipuka.web.admin.description import describe
from tests.support import pki
from tests.web.admin.world import EVENTS, REASONS, Office, error, not_found, office, value
from tests.web.fakes import RETRY_AFTER, World
from tests.web.wire import EST, message

LISTS = ("/admin/enrollments", "/admin/certs", "/admin/audit", "/admin/ca")


# --- what is shown


def test_enrollments_newest_first_by_page(admin: Office) -> None:
    for number in range(5):
        admin.enroll(f"CN=device-{number}")
    seen: list[str] = []
    path = "/admin/enrollments?limit=2"
    while True:
        page = value(admin.get(path))
        seen += [row["subject"] for row in page["items"]]
        assert len(page["items"]) <= 2
        if page["next"] is None:
            break
        path = f"/admin/enrollments?limit=2&cursor={page['next']}"
    assert seen == [f"CN=device-{number}" for number in (4, 3, 2, 1, 0)]


def test_enrollments_by_filter(admin: Office) -> None:
    admin.enroll("CN=a")
    admin.enroll("CN=b", label="/other")
    admin.enroll("CN=c", pending=True)

    def subjects(query: str) -> list[str]:
        return [row["subject"] for row in value(admin.get(f"/admin/enrollments?{query}"))["items"]]

    assert subjects("") == ["CN=c", "CN=b", "CN=a"]
    assert subjects("state=pending") == ["CN=c"]
    assert subjects("state=pending&state=issued&state=delivered") == ["CN=c", "CN=b", "CN=a"]
    assert subjects("ca_id=other") == ["CN=b"]
    assert subjects("label=other") == ["CN=b"]
    assert subjects("caller=ALI") == ["CN=c", "CN=b", "CN=a"]
    assert subjects("caller=bob") == []
    assert subjects("since=1970-01-01T00:00:00Z") == ["CN=c", "CN=b", "CN=a"]
    assert subjects("since=2999-01-01T00:00:00Z") == []


def test_one_enrollment(admin: Office) -> None:
    admin.enroll(pending=True)
    (listed,) = value(admin.get("/admin/enrollments"))["items"]
    shown = value(admin.get(f"/admin/enrollments/{listed['id']}"))
    assert shown == listed
    assert (shown["state"], shown["request_id"], shown["caller"]) == ("pending", "17", "user:alice")
    error(admin.get("/admin/enrollments/999"), 404, "not_found")
    assert '"id"' in error(admin.get("/admin/enrollments/one"), 400, "malformed")


def test_certificates(admin: Office) -> None:
    admin.enroll("CN=a")
    admin.enroll("CN=b", label="/other")
    admin.enroll("CN=c", pending=True)
    newest, oldest = value(admin.get("/admin/certs"))["items"]
    assert (newest["subject"], oldest["subject"]) == ("CN=b", "CN=a")
    assert value(admin.get("/admin/certs?subject=cn%3DA"))["items"] == [oldest]
    assert value(admin.get("/admin/certs?ca_id=other"))["items"] == [newest]
    digits = oldest["serial"].removeprefix("0x")
    even = digits.zfill(len(digits) + len(digits) % 2)
    colons = ":".join(even[at : at + 2] for at in range(0, len(even), 2))
    for way in (oldest["serial"], digits.upper(), colons, f"decimal:{int(digits, 16)}"):
        assert value(admin.get(f"/admin/certs?serial={way}"))["items"] == [oldest]
        shown = value(admin.get(f"/admin/certs/{way}"))
        pem = shown.pop("pem")
        assert shown == oldest
    assert x509.load_pem_x509_certificate(pem.encode()).serial_number == int(digits, 16)
    error(admin.get("/admin/certs/0x1"), 404, "not_found")
    assert "decimal:6699" in error(admin.get("/admin/certs/xyz"), 400, "malformed")


def test_certificates_show_how_they_stand(admin: Office) -> None:
    for subject in ("CN=a", "CN=b", "CN=c"):
        admin.enroll(subject)
    serials = {each["subject"]: each["serial"] for each in value(admin.get("/admin/certs"))["items"]}
    admin.standings.known = {
        int(serials["CN=a"], 16): Standing("revoked", pki.NOW, "keyCompromise"),
        int(serials["CN=b"], 16): Standing("good"),
    }
    admin.standings.asked.clear()

    def shown(each: dict[str, object]) -> tuple[object, ...]:
        return each["status"], each["revoked"], each["revocation_reason"]

    since = pki.NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    standings = {"CN=a": ("revoked", since, "keyCompromise"), "CN=b": ("good", None, None)}
    standings["CN=c"] = ("unknown", None, None)
    assert {each["subject"]: shown(each) for each in value(admin.get("/admin/certs"))["items"]} == standings
    assert shown(value(admin.get(f"/admin/certs/{serials['CN=a']}"))) == standings["CN=a"]
    value(admin.get("/admin/certs?limit=2"))
    assert admin.standings.asked == [3, 1, 2]  # all of a page at once, and nothing beyond it


def test_a_serial_number_of_two_cas_needs_the_ca(admin: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x509, "random_serial_number", lambda: 4711)
    admin.enroll("CN=a")
    admin.enroll("CN=b", label="/other")
    assert "(main, other)" in error(admin.get("/admin/certs/decimal:4711"), 409, "conflict")
    assert value(admin.get("/admin/certs/decimal:4711?ca_id=other"))["subject"] == "CN=b"


def test_the_audit_by_page_and_filter(admin: Office) -> None:
    admin.audit.records = [(number, {"event": "enrollment", "who": "x"}) for number in (3, 2, 1)]
    first = value(admin.get("/admin/audit?limit=2&event=enrollment&who=x&until=2026-01-31T12:00:00%2B02:00"))
    assert [item["id"] for item in first["items"]] == [3, 2]
    second = value(admin.get(f"/admin/audit?limit=2&cursor={first['next']}"))
    assert [item["id"] for item in second["items"]] == [1]
    assert second["next"] is None
    asked = admin.audit.asked[0]
    assert (asked["event"], asked["who"], asked["until"].isoformat()) == (
        "enrollment",
        "x",
        "2026-01-31T10:00:00+00:00",
    )
    assert all(event in error(admin.get("/admin/audit?event=x"), 400, "malformed") for event in EVENTS)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("stat=pending", '"stat"'),
        ("stat", '"stat"'),
        ("state=waiting", '"state"'),
        ("limit=0", '"limit"'),
        ("limit=1001", '"limit"'),
        ("limit=%D9%A1", '"limit"'),
        ("limit=5&limit=6", '"limit"'),
        ("cursor=1", '"cursor"'),
        ("cursor=AAAAAAAAAAA%0A", '"cursor"'),
        ("since=yesterday", '"since"'),
        ("since=2026-02-30T00:00:00Z", '"since"'),
        ("since=2026-01-31T12:00:00", '"since"'),
        ("ca_id=", '"ca_id"'),
        ("ca_id=a%2Fb", '"ca_id"'),
        ("caller=" + "x" * 201, '"caller"'),
        ("caller=%00", '"caller"'),
        ("caller=%FF", "percent-encoded"),
        ("&".join(["state=issued"] * 51), "percent-encoded"),
    ],
)
def test_a_query_that_cannot_be_obeyed_is_refused_by_name(admin: Office, query: str, named: str) -> None:
    assert named in error(admin.get(f"/admin/enrollments?{query}"), 400, "malformed")


def test_a_parameter_where_there_are_none(admin: Office) -> None:
    assert "there are none here" in error(admin.get("/admin/ca?x=1"), 400, "malformed")


@pytest.mark.parametrize("path", [*LISTS, "/admin/openapi.json"])
def test_head(admin: Office, path: str) -> None:
    get, head = admin.get(path), admin.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert [each for each in head.fields if each[0] != "Date"] == [each for each in get.fields if each[0] != "Date"]


def test_a_ledger_that_is_away_is_503(admin: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise StoreUnavailable("postgresql://kipuka:secret@db is away")

    monkeypatch.setattr(admin.world.store, "page", away)
    answer = admin.get("/admin/enrollments")
    assert "secret" not in error(answer, 503, "busy")
    assert answer.field("Retry-After") == str(RETRY_AFTER)


# --- what is done


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


@pytest.mark.parametrize("kind", [None, "text/plain", "application/pkcs10", "application/json; charset=latin-1"])
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


def test_what_is_not_plugged_in_says_so(world: World) -> None:
    with office(world, complete=False) as admin:
        error(admin.post("/admin/revoke", {"serial": "1"}), 501, "not_offered")
        error(admin.get("/admin/audit"), 501, "not_offered")
        described = value(admin.get("/admin/openapi.json"))["paths"]
        assert "/admin/certs" in described
        assert not {"/admin/audit", "/admin/revoke"} & set(described)


# --- where there is nothing


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/admin/certs", "GET, HEAD"), ("GET", "/admin/revoke", "POST"), ("DELETE", "/admin/ca", "GET, HEAD")],
)
def test_another_method(admin: Office, method: str, path: str, allowed: str) -> None:
    answer = admin.request(method, path, b"" if method == "POST" else None)
    error(answer, 405, "method_not_allowed")
    assert answer.field("Allow") == allowed


@pytest.mark.parametrize(
    "path", ["/admin", "/admin/", "/admin/x", "/admin//ca", "/admin/ca/", "/admin/%2e%2e/ca", "/admin/certs/a%2Fb"]
)
def test_another_path(admin: Office, path: str) -> None:
    error(admin.get(path), 404, "not_found")


def test_est_beside_it_answers_as_ever(admin: Office) -> None:
    client = admin.world.client()
    client = type(client)(admin.site)
    assert client.get(f"{EST}/cacerts").status == 200
    assert client.get("/nothing").text
    assert client.post(f"{EST}/simpleenroll", b"", content_type="text/html").status in {401, 415}


# --- the description


def test_the_description_agrees_with_the_routes(admin: Office) -> None:
    described = value(admin.get("/admin/openapi.json", token=None))
    assert described == json.loads(json.dumps(describe(AdminApi.routes.all, {"event": EVENTS, "reason": REASONS})))
    assert described["openapi"] == "3.1.0"
    operations = {(method.upper(), path) for path, operations in described["paths"].items() for method in operations}
    routed = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in AdminApi.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }
    assert operations == routed
    ids = [each["operationId"] for path in described["paths"].values() for each in path.values()]
    assert len(set(ids)) == len(ids)


def test_every_reference_in_the_description_leads_somewhere() -> None:
    described = describe(AdminApi.routes.all)
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)):
        assert name in described["components"]["schemas"]
