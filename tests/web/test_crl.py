"""``/crl/<ca id>``, as caches and relying parties ask for it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock
from twisted.web.pages import notFound

from kipuka.web.crl import Crl, Crls
from kipuka.web.http.json_answers import MEDIA_TYPE
from kipuka.web.http.limits import Limits
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree
from tests.web.wire import Client


class JsonClient(Client):
    """A client that expects errors in JSON."""

    errors = MEDIA_TYPE


ISSUED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class World:
    """One CA with a CRL, and one whose CRL is not there yet."""

    def __init__(self) -> None:
        self.crl = Crl(26, b"\x30\x03\x02\x01\x01", ISSUED)
        rooms = {b"crl": Crls({"main": lambda: self.crl, "soon": lambda: None})}
        tree = Tree(notFound(), rooms)
        self.client = JsonClient(EstSite(tree, Clock(), Limits(), lambda _: None, speaks_json=tree.speaks_json))


@pytest.fixture
def world() -> World:
    return World()


def test_the_crl_of_the_moment(world: World) -> None:
    answer = world.client.get("/crl/main")
    assert (answer.status, answer.body) == (200, world.crl.der)
    assert answer.field("Content-Type") == "application/pkix-crl"
    assert answer.field("Last-Modified") == "Mon, 23 Nov 2026 12:00:00 GMT"
    assert answer.field("Cache-Control") == "public, max-age=60"
    assert (answer.field("ETag") or "").startswith('"1a-')
    world.crl = Crl(27, b"\x30\x03\x02\x01\x02", ISSUED)
    newer = world.client.get("/crl/main")
    assert newer.body == world.crl.der
    assert newer.field("ETag") != answer.field("ETag")


def test_a_cache_that_has_it(world: World) -> None:
    tag = world.client.get("/crl/main").field("ETag")
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = world.client.get("/crl/main", if_none_match=known)
        assert (answer.status, answer.body, answer.field("ETag")) == (304, b"", tag)
    for unknown in ('"x"', "\xff"):  # which is no UTF-8
        assert world.client.get("/crl/main", if_none_match=unknown).status == 200
    world.crl = Crl(27, b"\x30\x03\x02\x01\x02", ISSUED)
    assert world.client.get("/crl/main", if_none_match=tag).status == 200


def test_head(world: World) -> None:
    answer = world.client.request("HEAD", "/crl/main")
    assert (answer.status, answer.body, answer.field("Content-Length")) == (200, b"", "5")


@pytest.mark.parametrize(
    "path", ["/crl", "/crl/", "/crl/other", "/crl/soon", "/crl/main/", "/crl/main/more", "/crl/Main"]
)
def test_nothing_else_is_there(world: World, path: str) -> None:
    answer = world.client.get(path)
    assert answer.status == 404
    assert b"There is no" in answer.body
    assert answer.field("Content-Type") == "application/json"


def test_other_methods(world: World) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = world.client.request(method, "/crl/main", b"x")
        assert (answer.status, answer.field("Allow")) == (405, "GET, HEAD")
