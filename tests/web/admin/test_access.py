"""Who gets into the admin API, and what that leaves in the audit."""

from __future__ import annotations

import re

import pytest
from twisted.web.http import Request
from twisted.web.resource import Resource

from kipuka.access.credentials.tokens import Scope
from kipuka.web.admin.api import AdminApi
from kipuka.web.admin.routing import ANYBODY, Route
from kipuka.web.health import HealthPages
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree
from tests.web.admin.world import ALLOWED, AdminClient, Office, error, office
from tests.web.fakes import World
from tests.web.wire import Answer, Session

# --- who gets in


@pytest.mark.parametrize("route", AdminApi.routes.all, ids=lambda route: f"{route.method} {route.path}")
def test_nobody_gets_past_a_route_without_its_scope(admin: Office, route) -> None:
    path = re.sub(r"\{\w+\}", "1", route.path)
    if route.access is ANYBODY:
        assert admin.get(path, token=None).status == 200
        return
    error(
        admin.request(route.method, path, b"" if route.method == "POST" else None, token=None), 401, "unauthenticated"
    )
    error(admin.request(route.method, path, b"" if route.method == "POST" else None, "wrong"), 401, "unauthenticated")
    other = "read" if route.access is Scope.REVOKE else "revoke"
    refused = admin.request(route.method, path, b"" if route.method == "POST" else None, other)
    assert route.access.value in error(refused, 403, "forbidden")
    assert refused.field("WWW-Authenticate") == 'Bearer realm="kipuka", error="insufficient_scope"'
    assert not admin.revocation.asked
    assert not admin.audit.asked


def test_the_challenge_names_an_error_only_to_who_tried_a_token(admin: Office) -> None:
    assert admin.get("/admin/ca", token=None).field("WWW-Authenticate") == 'Bearer realm="kipuka"'
    wrong = admin.get("/admin/ca", token="wrong")
    assert wrong.field("WWW-Authenticate") == 'Bearer realm="kipuka", error="invalid_token"'


@pytest.mark.parametrize("header", ["Basic YWxpY2U6eA==", "Bearer", "Bearer ", "bearer \xff", "Token x", ""])
def test_other_credentials_are_none(admin: Office, header: str) -> None:
    error(admin.get("/admin/ca", token=None, authorization=header), 401, "unauthenticated")


def test_a_refusal_is_audited_with_its_reference_and_without_the_token(admin: Office) -> None:
    message = error(admin.get("/admin/ca", token="wrong"), 401, "unauthenticated")
    ((event, facts),) = admin.world.audited
    assert event == "admin refusal"
    assert facts["operation"] == "GET /admin/ca"
    assert facts["address"] == "192.0.2.9"
    assert f"(reference {facts['reference']})" in message
    assert admin.tokens["wrong"] not in str(facts)


def test_a_refusal_beside_the_api_is_audited_too(admin: Office) -> None:
    rooms = {b"health": HealthPages(dict, list, lambda request: _reader(admin, request)).resource()}
    site = EstSite(Tree(Resource(), rooms), admin.world.clock, admin.world.limits, lambda _: None)
    client = AdminClient(site, Session(None), "192.0.2.9")
    assert client.get("/health/live", authorization=f"Bearer {admin.tokens['read']}").status == 200
    assert not admin.world.audited
    assert client.get("/health/live", authorization=f"Bearer {admin.tokens['revoke']}").status == 403
    ((event, facts),) = admin.world.audited
    assert (event, facts["operation"], facts["kind"]) == ("admin refusal", "GET /health/live", "forbidden")


async def _reader(admin: Office, request: Request) -> None:
    await admin.gate.admit(request, Scope.READ)


def test_an_administrators_certificate_has_all_scopes(admin: Office) -> None:
    own = admin.administrators.client("CN=Ada,O=Example")
    client = admin.client(own.certificate, admin.administrators.certificate)
    assert client.get("/admin/enrollments").status == 200
    body = b'{"serial": "1"}'
    assert client.post("/admin/revoke", body, content_type="application/json").status == 200
    assert admin.revocation.asked[0][3] == "certificate:CN=Ada,O=Example"


def test_a_certificate_below_an_intermediate_counts_and_a_devices_does_not(admin: Office) -> None:
    between = admin.administrators.intermediate("CN=Between")
    own = between.client("CN=Ada")
    chain = (own.certificate, between.certificate, admin.administrators.certificate)
    assert admin.client(*chain).get("/admin/ca").status == 200
    device = admin.world.device()
    error(
        admin.client(device.certificate, admin.world.main.issuer.certificate).get("/admin/ca"), 401, "unauthenticated"
    )
    # The administrators' CA itself is no administrator: it must have issued what is shown.
    error(admin.client(admin.administrators.certificate).get("/admin/ca"), 401, "unauthenticated")


def test_only_some_subjects_of_the_administrators_ca(world: World) -> None:
    with office(world, subjects=["CN=monitor", "CN=[A-Za-z ]+,OU=Operations,O=Example"]) as admin:

        def asked(subject: str) -> Answer:
            own = admin.administrators.client(subject)
            return admin.client(own.certificate, admin.administrators.certificate).get("/admin/ca")

        for subject in ("CN=monitor", "CN=Ada Lovelace,OU=Operations,O=Example"):
            assert asked(subject).status == 200
        # The whole subject has to fit, and a comma within a name is none between names.
        for subject in ("CN=monitor,O=Example", "OU=x,CN=monitor", "CN=monitors", r"CN=x\,OU=Operations,O=Example", ""):
            error(asked(subject), 401, "unauthenticated")
        event, facts = admin.world.audited[-1]
        assert (event, "not in admin.subjects" in str(facts["cause"])) == ("admin refusal", True)


def test_a_subject_of_more_than_1024_characters_is_none_of_theirs(world: World) -> None:
    with office(world, subjects=["(OU=a+,?)+"]) as admin:  # would take for ever over a name made for the purpose

        def asked(subject: str) -> Answer:
            own = admin.administrators.client(subject)
            return admin.client(own.certificate, admin.administrators.certificate).get("/admin/ca")

        longest = ",".join(["OU=a"] * 205)
        assert (len(longest), asked(longest).status) == (1024, 200)
        error(asked(f"{longest}a"), 401, "unauthenticated")


CHANGES = [route for route in AdminApi.routes.all if route.event is not None]
FOREIGN: list[dict[str, str | None]] = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://est.example"},
    {"origin": "https://est.example:8443"},
    {"origin": "https://est.example.evil.example", "sec_fetch_site": "same-origin"},
    {"origin": "https://est.example", "sec_fetch_site": "cross-site"},
]
OWN: list[dict[str, str | None]] = [
    {},
    {"sec_fetch_site": "none"},
    {"sec_fetch_site": "same-origin", "origin": "https://est.example"},
    {"host": "EST.example:8443", "origin": "https://est.example:8443"},
]


def changing(admin: Office, route: Route, token: str | None = None, **fields: str | None) -> Answer:
    """Ask for a change, with a token or as an administrator's browser does: with the certificate."""
    own = admin.administrators.client("CN=Ada")
    client = admin.client(own.certificate, admin.administrators.certificate)
    if token is not None:
        fields["authorization"] = f"Bearer {admin.tokens[token]}"
    path = re.sub(r"\{\w+\}", "1", route.path)
    return client.post(path, b'{"serial": "1"}', **{"content_type": "application/json", **fields})


@pytest.mark.parametrize("fields", FOREIGN, ids=str)
@pytest.mark.parametrize("route", CHANGES, ids=lambda route: route.path)
def test_a_page_of_another_site_changes_nothing_with_an_administrators_certificate(
    admin: Office, route: Route, fields: dict[str, str | None]
) -> None:
    admin.enroll(pending=True)
    admin.world.audited.clear()
    assert "page of another site" in error(changing(admin, route, **fields), 403, "forbidden")
    ((event, facts),) = admin.world.audited
    assert (event, facts["caller"]) == ("admin refusal", "certificate:CN=Ada")
    assert not admin.revocation.asked
    assert changing(admin, route, "revoke", **fields).status == 200


@pytest.mark.parametrize("fields", OWN, ids=str)
@pytest.mark.parametrize("route", CHANGES, ids=lambda route: route.path)
def test_programs_and_pages_of_its_own_change_things(
    admin: Office, route: Route, fields: dict[str, str | None]
) -> None:
    admin.enroll(pending=True)
    assert changing(admin, route, **fields).status == 200


def test_a_token_that_is_shown_decides_whatever_the_certificate(admin: Office) -> None:
    own = admin.administrators.client("CN=Ada")
    client = admin.client(own.certificate, admin.administrators.certificate)
    refused = client.post("/admin/revoke", b"{}", authorization=f"Bearer {admin.tokens['read']}")
    error(refused, 403, "forbidden")


def test_wrong_tokens_are_limited_by_address_and_right_ones_are_not(admin: Office) -> None:
    for _ in range(ALLOWED):
        error(admin.get("/admin/ca", token="wrong"), 401, "unauthenticated")
    blocked = admin.get("/admin/ca", token="wrong")
    error(blocked, 429, "too_many")
    assert 1 <= int(blocked.field("Retry-After") or "") <= 60
    assert admin.get("/admin/ca").status == 200
    elsewhere = admin.client(address="198.51.100.1")
    error(elsewhere.get("/admin/ca", authorization="Bearer x"), 401, "unauthenticated")
    admin.world.clock.advance(61)
    error(admin.get("/admin/ca", token="wrong"), 401, "unauthenticated")


def test_a_removed_token_is_refused_from_the_next_request_on(admin: Office) -> None:
    assert admin.get("/admin/ca", "read").status == 200
    kept = [line for line in admin.path.read_text().splitlines() if not line.startswith("read ")]
    admin.path.write_text("\n".join(kept) + "\n")
    error(admin.get("/admin/ca", "read"), 401, "unauthenticated")
    assert admin.get("/admin/ca").status == 200


def test_a_damaged_tokens_file_lets_nobody_in(admin: Office) -> None:
    admin.path.write_text("damaged\n")
    message = error(admin.get("/admin/ca"), 500, "internal")
    assert str(admin.path) not in message
