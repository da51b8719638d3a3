"""What the admin API shows: enrollments, certificates and the audit, by page and filter."""

from __future__ import annotations

import pytest
from cryptography import x509

from kipuka.store.errors import StoreUnavailable
from kipuka.web.admin.backend import Standing
from tests.support import pki
from tests.web.admin.world import EVENTS, Office, error, value
from tests.web.fakes import RETRY_AFTER


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


def test_a_ledger_that_is_away_is_503(admin: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise StoreUnavailable("postgresql://kipuka:secret@db is away")

    monkeypatch.setattr(admin.world.store, "page", away)
    answer = admin.get("/admin/enrollments")
    assert "secret" not in error(answer, 503, "busy")
    assert answer.field("Retry-After") == str(RETRY_AFTER)
