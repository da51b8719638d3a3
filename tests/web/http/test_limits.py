"""Time, and the end of the service, by a clock that the tests turn."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from kipuka.web.http.limits import LIFETIME, LINGER, Limits
from tests.support import pki
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, Client, message

LIMITS = Limits(body=64 * 1024, header_seconds=10, body_seconds=30, idle_seconds=60)
CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
GET = message("GET", f"{EST}/cacerts")
POST = message("POST", f"{EST}/simpleenroll", CSR, content_type="application/pkcs10", authorization=basic())


@pytest.fixture
def world() -> Iterator[World]:
    world = World(LIMITS)
    yield world
    world.close()


def slowly(world: World, client: Client, data: bytes, pause: float) -> float:
    """Send byte by byte until the server has had enough; return the seconds until then."""
    start = world.clock.seconds()
    for position in range(len(data)):
        client.send(data[position : position + 1])
        world.clock.advance(pause)
        if client.closed:
            return world.clock.seconds() - start
    raise AssertionError("the server waited for everything")


def test_a_request_refused_unread_is_found_by_its_reference(world: World) -> None:
    lines: list[str] = []
    globalLogPublisher.addObserver(observer := lambda event: lines.append(formatEvent(event)))
    try:
        client = world.client()
        client.send(message("POST", f"{EST}/simpleenroll?x", CSR, content_type="multipart/form-data"))
        answers = client.answers()
        client = world.client()
        client.send(GET + b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n")
        answers += client.answers()[1:]
        client = world.client()
        client.send(message("A" * 16_000, f"{EST}/cacerts"))
        answers += client.answers()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert [answer.status for answer in answers] == [415, 400, 501]
    references = [re.findall(r"\(reference ([0-9a-f]{8})\)\n$", answer.text)[0] for answer in answers]
    told = [line for line in lines if "refused unread" in line]
    assert told[0].endswith(f" b'POST' b'{EST}/simpleenroll?x' refused unread: 415 {references[0]}")
    assert told[1].endswith(f" b'' b'' refused unread: 400 {references[1]}")  # not those of the request before
    assert len(told[2]) < 500


@pytest.mark.parametrize("pause", [0.5, 1, 3, 9.9])
def test_enc_20_a_header_byte_by_byte(world: World, pause: float) -> None:
    client = world.client()
    took = slowly(world, client, b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, pause)
    assert LIMITS.header_seconds <= took < LIMITS.header_seconds + pause + 0.01
    assert [answer.status for answer in client.answers()] == [408]


@pytest.mark.parametrize("pause", [0.3, 1, 29])
def test_enc_20_a_body_byte_by_byte(world: World, pause: float) -> None:
    client = world.client()
    client.send(POST[: -len(CSR)])
    took = slowly(world, client, CSR.strip(), pause)
    assert LIMITS.body_seconds <= took < LIMITS.body_seconds + pause + 0.01
    assert [answer.status for answer in client.answers()] == [408]
    assert not world.main.requests


def test_enc_20_a_chunked_body_byte_by_byte(world: World) -> None:
    client = world.client()
    client.send(message("POST", f"{EST}/simpleenroll", None, transfer_encoding="chunked"))
    slowly(world, client, b"1\r\nA\r\n" * 100, 1)
    assert [answer.status for answer in client.answers()] == [408]


def test_enc_20_the_header_s_clock_starts_anew_with_each_request(world: World) -> None:
    client = world.client()
    for _ in range(5):
        client.send(GET[:20])
        world.clock.advance(LIMITS.header_seconds - 1)
        client.send(GET[20:])
        assert client.answers()[0].status == 200
    client.send(GET[:20])
    world.clock.advance(LIMITS.header_seconds)
    assert [answer.status for answer in client.answers()] == [408]


def test_enc_20_a_pipelined_beginning_has_no_more_time(world: World) -> None:
    client = world.client()
    client.send(GET + GET[:20])
    assert client.answers()[0].status == 200
    slowly(world, client, GET[20:-4] + b"\r\nX: " + b"a" * 1000, 1)
    assert [answer.status for answer in client.answers()] == [408]


def test_enc_20_a_pipelined_beginning_alone_has_no_more_time(world: World) -> None:
    client = world.client()
    client.send(GET + GET[:20])
    client.answers()
    world.clock.advance(LIMITS.idle_seconds + 1)
    assert client.closed


@pytest.mark.parametrize("requests", [0, 1, 3])
def test_enc_20_an_idle_connection_is_closed(world: World, requests: int) -> None:
    client = world.client()
    for _ in range(requests):
        assert client.get(f"{EST}/cacerts").status == 200
    world.clock.advance(LIMITS.idle_seconds - 1)
    assert not client.closed
    world.clock.advance(2)
    assert client.closed
    assert client.answers() == []
    world.clock.advance(2 * LINGER)
    client.hang_up()
    assert not world.clock.getDelayedCalls()


def test_tls_07_a_connection_ends_after_an_hour_with_its_next_answer(world: World) -> None:
    client = world.client()
    while world.clock.seconds() < LIFETIME - 1:
        assert client.get(f"{EST}/cacerts").field("Connection") is None
        world.clock.advance(LIMITS.idle_seconds / 2)
    world.clock.advance(2)
    assert client.get(f"{EST}/cacerts").field("Connection") == "close"
    assert client.closed


def test_enc_20_a_connection_that_is_cut_has_no_timer_left(world: World) -> None:
    client = world.client()
    world.clock.advance(LIMITS.idle_seconds)
    assert client.transport.aborted
    client.hang_up()
    assert not world.clock.getDelayedCalls()


def test_whoever_reads_no_answers_is_no_longer_listened_to(world: World) -> None:
    client = world.client()
    write = client.transport.write

    def full(data: bytes) -> None:
        client.protocol.pauseProducing()  # what a transport does whose buffer has filled
        write(data)

    client.transport.write = full  # type: ignore[method-assign]
    client.send(GET + GET)
    assert [answer.status for answer in client.answers()] == [200, 200]
    assert client.transport.producerState == "paused"
    client.protocol.resumeProducing()
    assert client.transport.producerState == "producing"
    client.transport.write = write  # type: ignore[method-assign]
    assert client.get(f"{EST}/cacerts").status == 200
    assert client.transport.producerState == "producing"


def test_a_blank_line_does_not_hold_a_connection(world: World) -> None:
    client = world.client()
    client.send(b"\r\n")
    world.clock.advance(LIMITS.header_seconds + 1)
    assert client.closed


def test_a_client_that_does_not_close_its_side_is_cut(world: World) -> None:
    client = world.client()
    client.send(b"garbage\r\n\r\n")
    assert client.closed
    assert not client.transport.aborted
    world.clock.advance(LINGER + 0.1)
    assert client.transport.aborted
    client.hang_up()
    assert not world.clock.getDelayedCalls()


@pytest.mark.parametrize("data", [b"", GET, GET[:10], POST[:-10], b"garbage\r\n\r\n"])
def test_nothing_is_left_of_a_connection_that_went_away(world: World, data: bytes) -> None:
    client = world.client()
    if data:
        client.send(data)
    client.hang_up(clean=False)
    assert not world.clock.getDelayedCalls()
    assert not world.site._channels


def test_kipuka_s_own_time_is_not_the_client_s(world: World) -> None:
    world.main.waits_for = Deferred()
    client = world.client()
    client.send(POST)
    world.clock.advance(10 * LIMITS.idle_seconds)
    assert not client.closed
    world.main.waits_for.callback(None)
    assert client.answers()[0].status == 200


def test_bytes_sent_while_waiting_are_bounded(world: World) -> None:
    world.main.waits_for = Deferred()
    client = world.client()
    client.send(POST)
    sent = 0
    while client.transport.producerState == "producing":
        client.send(b"x" * 4096)
        sent += 4096
        assert sent < 1_000_000
    world.main.waits_for.callback(None)
    assert [answer.status for answer in client.answers()] == [200, 400]


def test_drain_closes_idle_connections_and_waits_for_the_others(world: World) -> None:
    idle, used, busy = world.client(), world.client(), world.client()
    used.get(f"{EST}/cacerts")
    world.main.waits_for = Deferred()
    busy.send(POST)
    drained = world.site.drain()
    assert idle.closed
    assert used.closed
    idle.hang_up()
    used.hang_up()
    assert not busy.closed
    assert not drained.called
    world.main.waits_for.callback(None)
    (answer,) = busy.answers()
    assert answer.status == 200
    assert busy.closed
    busy.hang_up()
    assert drained.called


def test_drain_of_nothing_is_done_at_once(world: World) -> None:
    assert world.site.drain().called


@pytest.mark.parametrize("sent", [10, 100, len(POST) - len(CSR), len(POST) - 1])
def test_drain_lets_a_request_arrive_that_has_begun(world: World, sent: int) -> None:
    client = world.client()
    client.send(POST[:sent])
    drained = world.site.drain()
    assert not client.closed
    client.send(POST[sent:] + GET)
    (answer,) = client.answers()
    assert answer.status == 200
    assert client.closed
    client.hang_up()
    assert drained.called


def test_drain_says_that_the_connection_ends(world: World) -> None:
    client = world.client()
    client.send(POST[:-1])
    world.site.drain()
    client.send(POST[-1:])
    assert client.answers()[0].field("Connection") == "close"


def test_drain_answers_no_pipelined_request_more(world: World) -> None:
    world.main.waits_for = Deferred()
    client = world.client()
    client.send(POST + GET + GET)
    world.site.drain()
    world.main.waits_for.callback(None)
    assert [answer.status for answer in client.answers()] == [200]
    assert client.closed


def test_drain_does_not_wait_for_ever_for_a_slow_request(world: World) -> None:
    client = world.client()
    client.send(POST[:10])
    drained = world.site.drain()
    world.clock.advance(LIMITS.header_seconds)
    assert client.closed
    client.hang_up()
    assert drained.called
