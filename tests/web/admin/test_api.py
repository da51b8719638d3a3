"""What the admin API consists of: its paths and methods, and what the description says of them."""

from __future__ import annotations

import json
import re

import pytest

from kipuka.web.admin.api import AdminApi
from kipuka.web.admin.description import describe
from tests.web.admin.world import EVENTS, REASONS, Office, error, office, value
from tests.web.fakes import World
from tests.web.wire import EST

LISTS = ("/admin/enrollments", "/admin/certs", "/admin/audit", "/admin/ca")


@pytest.mark.parametrize("path", [*LISTS, "/admin/openapi.json"])
def test_head(admin: Office, path: str) -> None:
    get, head = admin.get(path), admin.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert [each for each in head.fields if each[0] != "Date"] == [each for each in get.fields if each[0] != "Date"]


def test_what_is_not_plugged_in_says_so(world: World) -> None:
    with office(world, complete=False) as admin:
        error(admin.post("/admin/revoke", {"serial": "1"}), 501, "not_offered")
        error(admin.get("/admin/audit"), 501, "not_offered")
        described = value(admin.get("/admin/openapi.json"))["paths"]
        assert "/admin/certs" in described
        assert not {"/admin/audit", "/admin/revoke"} & set(described)


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
