"""/health/...: what is said, to whom, and how errors look outside EST."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.http import Request
from twisted.web.resource import Resource

from kipuka.errors import Kind, RequestError
from kipuka.web.health import Authorise, HealthPages, anybody, loopback
from kipuka.web.http.limits import Limits
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree
from tests.web.wire import Answer, Client

CAS: dict[str, dict[str, Any]] = {
    "main": {"status": "healthy", "last_check": "2026-11-23T12:00:00Z", "consecutive_failures": 0},
    "away": {"status": "circuit_open", "last_check": None, "consecutive_failures": 7, "kra": {"status": "unknown"}},
}


class Health:
    """A site with nothing but the room."""

    def __init__(self) -> None:
        self.cas = copy.deepcopy(CAS)
        self.reasons: list[str] = []

    def client(self, authorise: Authorise = anybody, address: str = "192.0.2.7") -> Client:
        room = HealthPages(lambda: self.cas, lambda: self.reasons, authorise).resource()
        site = EstSite(Tree(Resource(), {b"health": room}), Clock(), Limits(), lambda _: None)
        client = Client(site, address=address)
        client.errors = "application/json"
        return client


@pytest.fixture
def health() -> Health:
    return Health()


def value(answer: Answer) -> Any:
    assert answer.field("Content-Type") == "application/json"
    assert answer.field("Cache-Control") == "no-store"
    return json.loads(answer.body)


def refusal(answer: Answer) -> tuple[int, str]:
    error = value(answer)
    assert error.keys() == {"error", "message"}
    assert error["message"].endswith(".")
    return answer.status, error["error"]


def test_every_ca_is_shown_and_the_answer_is_200_however_they_are(health: Health) -> None:
    answer = health.client().get("/health/ca")
    assert (answer.status, value(answer)) == (200, CAS)
    health.cas["main"]["status"] = "degraded"
    assert value(health.client().get("/health/ca"))["main"]["status"] == "degraded"


def test_a_daemon_that_answers_lives(health: Health) -> None:
    health.reasons.append("The database of the ledger takes no entries.")
    answer = health.client().get("/health/live")
    assert (answer.status, value(answer)) == (200, {"status": "live"})


def test_it_is_ready_unless_there_is_a_reason(health: Health) -> None:
    client = health.client()
    answer = client.get("/health/ready")
    assert (answer.status, value(answer)) == (200, {"status": "ready"})
    health.reasons += ["No CA of main can be used.", "The database takes no entries."]
    answer = client.get("/health/ready")
    assert answer.status == 503
    assert value(answer) == {
        "status": "not ready",
        "reasons": health.reasons,
        "error": "not_ready",
        "message": "No CA of main can be used. The database takes no entries.",
    }


@pytest.mark.parametrize("page", ["ca", "live", "ready"])
def test_head_has_the_head_of_get(health: Health, page: str) -> None:
    whole, head = (health.client().request(method, f"/health/{page}") for method in ("GET", "HEAD"))
    assert [each for each in head.fields if each[0] != "Date"] == [each for each in whole.fields if each[0] != "Date"]
    assert head.body == b""
    assert whole.body


@pytest.mark.parametrize("page", ["ca", "live", "ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_told_which_to_use(health: Health, page: str, method: str) -> None:
    answer = health.client().request(method, f"/health/{page}", b"")
    assert refusal(answer) == (405, "method_not_allowed")
    assert answer.field("Allow") == "GET, HEAD"


@pytest.mark.parametrize("path", ["/health", "/health/ca/main", "/health/kra"])
def test_there_is_nothing_else(health: Health, path: str) -> None:
    assert refusal(health.client().get(path)) == (404, "not_found")


@pytest.mark.parametrize("page", ["ca", "live", "ready"])
@pytest.mark.parametrize(
    ("address", "status"),
    [
        *((here, 200) for here in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1")),
        *((elsewhere, 403) for elsewhere in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "?")),
    ],
)
def test_loopback_is_for_this_machine(health: Health, page: str, address: str, status: int) -> None:
    answer = health.client(loopback, address).get(f"/health/{page}")
    assert answer.status == status
    if status == 403:
        assert refusal(answer) == (403, "forbidden")


@pytest.mark.parametrize("page", ["ca", "live", "ready"])
def test_whoever_knows_the_tokens_decides(health: Health, page: str) -> None:
    async def tokens(request: Request) -> None:
        shown = request.getHeader("authorization")
        if shown is None:
            raise RequestError(Kind.UNAUTHENTICATED, "This needs a token: show one.")
        if shown != "Bearer good":
            raise RequestError(Kind.FORBIDDEN, "This token is not for this: use another.")

    client = health.client(tokens)
    answer = client.get(f"/health/{page}")
    assert refusal(answer) == (401, "unauthenticated")
    assert answer.field("WWW-Authenticate") == 'Bearer realm="kipuka"'
    assert refusal(client.get(f"/health/{page}", authorization="Bearer other")) == (403, "forbidden")
    assert client.get(f"/health/{page}", authorization="Bearer good").status == 200
