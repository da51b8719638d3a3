"""What Twisted makes of a request before kipuka sees it, and what becomes of the connection when that fails."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import http

from kipuka.web.http.limits import LINGER
from kipuka.web.http.site import LimitedRequest
from tests.support import pki
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, Client, message

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
PATH = f"{EST}/simpleenroll"
POST = message("POST", PATH, CSR, content_type="application/pkcs10", authorization=basic())


def post(content_type: str, content: bytes = CSR) -> bytes:
    return message("POST", PATH, content, content_type=content_type, authorization=basic())


def sent(world: World, request: bytes, pipelined: bool) -> Client:
    """A connection with a request: its first, or behind one that was answered after this one had arrived."""
    client = world.client()
    if pipelined:
        world.main.waits_for = Deferred()
        client.send(POST + request)
        assert client.answers() == []
        world.main.waits_for.callback(None)
    else:
        client.send(request)
    return client


@pytest.mark.parametrize(
    "content_type",
    ["a/\x0bb", "(" * 900, f"a/b;a*{'9' * 4400}..=1", "a/b" + ";" * 15_000, "(x)multipart/form-data; boundary=a"],
)
@pytest.mark.parametrize("pipelined", [False, True])
def test_twisted_looks_for_no_form(
    world: World, content_type: str, pipelined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: bytes) -> None:
        raise AssertionError("it parses fields for seconds, or fails")

    monkeypatch.setattr(http, "_parseContentType", looked)
    monkeypatch.setattr(http, "_getMultiPartArgs", looked)
    client = sent(world, post(content_type), pipelined)
    assert [answer.status for answer in client.answers()] == [200, 415][not pipelined :]
    assert not client.closed


def test_the_body_is_whole_all_the_same(world: World) -> None:
    client = world.client()
    client.send(POST)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in (CSR[:7], CSR[7:], b""))
    chunked = {"transfer_encoding": "chunked", "content_type": "application/pkcs10", "authorization": basic()}
    client.send(message("POST", PATH, None, **chunked) + chunks)
    assert [answer.status for answer in client.answers()] == [200, 200]


@pytest.mark.parametrize("pipelined", [False, True])
def test_no_connection_stays_without_a_clock(
    world: World, pipelined: bool, monkeypatch: pytest.MonkeyPatch, failures: list[Failure]
) -> None:
    error = RuntimeError("secret")

    def broken(request: LimitedRequest) -> None:
        if request.path == b"/broken":
            raise error
        process(request)

    process = LimitedRequest.process
    monkeypatch.setattr(LimitedRequest, "process", broken)
    client = sent(world, message("POST", "/broken", b"x") + message("GET", f"{EST}/cacerts"), pipelined)
    answers = client.answers()
    assert [answer.status for answer in answers] == [200, 500][not pipelined :]
    assert "secret" not in answers[-1].text
    assert client.closed
    assert [failure.value for failure in failures] == [error]
    failures.clear()
    world.clock.advance(LINGER)
    assert client.transport.aborted
    client.hang_up()
    assert not world.clock.getDelayedCalls()
    assert world.site.drain().called


def test_what_fails_after_the_answer_has_begun_only_ends_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, failures: list[Failure]
) -> None:
    def broken(request: LimitedRequest) -> None:
        process(request)
        raise RuntimeError

    process = LimitedRequest.process
    monkeypatch.setattr(LimitedRequest, "process", broken)
    client = world.client()
    client.send(message("GET", f"{EST}/cacerts"))
    assert [answer.status for answer in client.answers()] == [200]
    assert client.closed
    failures.clear()
