"""GET /metrics, and what the metrics are told of each operation."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.http import Request

from kipuka.authority.interface import EnrollmentRequest, Outcome, Pending
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.observe.context import reference
from kipuka.web.health import Authorise, anybody
from kipuka.web.http.limits import Limits
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree
from kipuka.web.metrics import MetricsPage
from tests.support import pki
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, PLAIN, Client

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))


class Page:
    """The page as a room beside the world's EST."""

    def __init__(self, world: World, authorise: Authorise = anybody) -> None:
        self.accepted: list[str] = []
        self.refreshed = 0
        self.waits_for: Deferred[None] | None = None
        page = MetricsPage(self._expose, self._refresh, authorise).resource()
        tree = Tree(world.operations.resource(), {b"metrics": page})
        self.client = Client(EstSite(tree, Clock(), Limits(), lambda _: None))
        self.client.errors = "application/json"

    def _expose(self, accept: str) -> tuple[str, bytes]:
        self.accepted.append(accept)
        return "text/plain; version=0.0.4; charset=utf-8", b"kipuka_up 1\n"

    async def _refresh(self) -> None:
        self.refreshed += 1
        if self.waits_for is not None:
            await self.waits_for


def test_the_page(world: World) -> None:
    page = Page(world)
    answer = page.client.get("/metrics", accept="application/openmetrics-text")
    assert (answer.status, answer.body) == (200, b"kipuka_up 1\n")
    assert answer.field("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.field("Cache-Control") == "no-store"
    assert page.accepted == ["application/openmetrics-text"]


def test_accept_need_not_be_utf_8(world: World) -> None:
    page = Page(world)
    assert page.client.get("/metrics", accept="\xff").status == 200
    assert page.accepted == ["\xff"]


def test_head_has_the_fields_only(world: World) -> None:
    answer = Page(world).client.request("HEAD", "/metrics")
    assert (answer.status, answer.body, answer.field("Content-Length")) == (200, b"", "12")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/metrics", 405), ("GET", "/metrics/x", 404)])
def test_there_is_nothing_else(world: World, method: str, path: str, status: int) -> None:
    page = Page(world)
    answer = page.client.request(method, path, b"" if method == "POST" else None)
    assert answer.status == status
    assert page.refreshed == 0


def test_the_numbers_are_brought_up_to_date_first(world: World) -> None:
    page = Page(world)
    page.waits_for = Deferred()
    page.client.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    assert page.client.answers() == []
    page.waits_for.callback(None)
    (answer,) = page.client.answers()
    assert answer.status == 200


def test_a_reader_that_goes_away_leaves_no_failure(world: World) -> None:
    page = Page(world)
    page.waits_for = Deferred()
    page.client.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    page.client.hang_up()
    assert page.accepted == []


@pytest.mark.parametrize(("kind", "status"), [(Kind.UNAUTHENTICATED, 401), (Kind.FORBIDDEN, 403)])
def test_whoever_may_not_read_learns_nothing(world: World, kind: Kind, status: int) -> None:
    async def nobody(request: Request) -> None:
        raise RequestError(kind, "Show a token that may read.")

    page = Page(world, nobody)
    answer = page.client.get("/metrics")
    assert answer.status == status
    assert b"kipuka_up" not in answer.body
    assert answer.field("WWW-Authenticate") == 'Bearer realm="kipuka"'
    assert (page.refreshed, page.accepted) == (0, [])


def test_a_label_of_that_name_is_still_a_label(world: World) -> None:
    page = Page(world)
    page.client.errors = PLAIN
    answer = page.client.get("/metrics/.well-known/est/cacerts")
    assert answer.text.startswith("There is no such label here")


def test_an_issued_certificate(world: World) -> None:
    world.client().post(f"{EST}/lab/simpleenroll", CSR, authorization=basic())
    assert world.counted == [("simpleenroll", "lab", "issued")]


def test_one_that_waits_for_approval(world: World) -> None:
    def pending(request: EnrollmentRequest) -> Outcome:
        return Pending("7")

    world.main.outcome = pending
    assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic()).status == 202
    assert world.counted == [("simpleenroll", None, "pending")]


@pytest.mark.parametrize("kind", [Kind.UNREACHABLE, Kind.MISCONFIGURED, Kind.REFUSED])
def test_a_failure_by_its_kind(world: World, kind: Kind) -> None:
    def fail(request: EnrollmentRequest) -> Outcome:
        raise AuthorityError(kind, "No.")

    world.main.outcome = fail
    world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic())
    assert world.counted == [("simpleenroll", None, kind.value)]


def test_other_operations_and_labels_that_there_are_not(world: World) -> None:
    world.client().get(f"{EST}/cacerts")
    world.client().get(f"{EST}/nowhere/cacerts")
    world.client().get("/elsewhere")
    assert world.counted == [("cacerts", None, "answered"), ("cacerts", "nowhere", "not_found")]


def test_a_client_that_goes_away(world: World) -> None:
    world.main.waits_for = Deferred()
    client = world.client()
    client.send(
        b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: a\r\nContent-Type: application/pkcs10\r\n"
        b"Authorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (basic().encode(), len(CSR), CSR)
    )
    client.hang_up()
    assert world.counted == [("simpleenroll", None, "gone")]
    world.main.waits_for.callback(None)


def test_what_nobody_foresaw_is_internal(world: World, failures: list[Failure]) -> None:
    world.main.chain_error = ZeroDivisionError()
    answer = world.client().get(f"{EST}/cacerts")
    assert world.counted == [("cacerts", None, "internal")]
    assert re.search(r"\(reference [0-9a-f]{8}\)\n$", answer.text)
    failures.clear()


@pytest.fixture
def referenced() -> Iterator[list[tuple[str, str | None]]]:
    """The messages that were logged, each with the reference of the request it was logged for."""
    logged: list[tuple[str, str | None]] = []

    def observe(event: LogEvent) -> None:
        logged.append((str(event.get("log_format")), reference.get(None)))

    globalLogPublisher.addObserver(observe)
    yield logged
    globalLogPublisher.removeObserver(observe)


def test_a_request_has_one_reference_wherever_it_is_worked_on(
    world: World, referenced: list[tuple[str, str | None]]
) -> None:
    """Beyond the waiting for a CA, with another request in between; and outside of requests there is none."""
    log = Logger("test")
    world.main.waits_for = Deferred()

    def refuse(request: EnrollmentRequest) -> Outcome:
        log.info("at the CA")
        raise AuthorityError(Kind.REFUSED, "No.")

    world.main.outcome = refuse
    waiting = world.client()
    waiting.send(
        b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: a\r\nContent-Type: application/pkcs10\r\n"
        b"Authorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (basic().encode(), len(CSR), CSR)
    )
    world.client().get(f"{EST}/cacerts")
    log.info("outside")
    world.main.waits_for.callback(None)
    (answer,) = waiting.answers()
    found = re.search(r"\(reference ([0-9a-f]{8})\)\n$", answer.text)
    assert found is not None
    assert ("at the CA", found[1]) in referenced
    assert ("outside", None) in referenced
    assert world.audited[-1][1]["reference"] == found[1]


def test_a_disguised_path_is_refused_with_a_reference(world: World) -> None:
    answer = world.client().get(f"{EST}/a%2Fb/cacerts")
    assert answer.status == 404
    assert re.search(r"\(reference [0-9a-f]{8}\)\n$", answer.text)
