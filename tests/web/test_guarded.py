"""Rooms beside the admin API that take its tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import Resource

from kipuka.access.tokens import Scope
from kipuka.web import json_answers
from kipuka.web.admin.guarded import Guarded
from kipuka.web.answers import prepare
from kipuka.web.site import EstSite
from kipuka.web.tree import Tree
from tests.web.admin_world import AdminClient, Office, error, office, value
from tests.web.fakes import World
from tests.web.wire import message


class Room(Resource):
    isLeaf = True  # noqa: N815

    def render_GET(self, request: Request) -> bytes:
        return prepare(request, json_answers.answer(200, [each.decode() for each in request.postpath]))


@pytest.fixture
def admin(world: World) -> Iterator[Office]:
    with office(world) as found:
        tree = Tree(world.operations.resource(), {b"metrics": Guarded(Room(), found.gate, Scope.READ)})
        found.site = EstSite(tree, world.clock, world.limits, lambda request: None, tree.speaks_json)
        yield found


def test_the_room_sees_the_whole_path_of_whoever_is_let_in(admin: Office) -> None:
    assert value(admin.get("/metrics/x", "read")) == ["metrics", "x"]
    head = admin.request("HEAD", "/metrics")
    assert (head.status, head.body) == (200, b"")


def test_others_are_refused_and_audited(admin: Office) -> None:
    refused = admin.get("/metrics", token=None)
    error(refused, 401, "unauthenticated")
    assert refused.field("WWW-Authenticate") == 'Bearer realm="kipuka"'
    error(admin.get("/metrics", "revoke"), 403, "forbidden")
    assert [facts["operation"] for _, facts in admin.world.audited] == ["GET /metrics", "GET /metrics"]


def test_a_client_that_goes_away_meanwhile(admin: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Deferred[None] = Deferred()

    async def slow(*_: object) -> None:
        await asked

    monkeypatch.setattr(admin.gate, "admit", slow)
    client = AdminClient(admin.site)
    client.send(message("GET", "/metrics"))
    client.hang_up(clean=False)
    assert asked.called


def test_a_room_that_fails_is_500(admin: Office, monkeypatch: pytest.MonkeyPatch, failures: list) -> None:
    def broken(*_: object) -> bytes:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Room, "render_GET", broken)
    assert "secret" not in error(admin.get("/metrics"), 500, "internal")
    assert failures.pop().check(ZeroDivisionError)
