"""How requests are framed: lengths, chunks, continuations, versions, and what must not become a second request."""

from __future__ import annotations

import pytest

from kipuka.web.http.limits import Limits
from tests.support import framing, pki
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, message

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
PATH = f"{EST}/simpleenroll"
USUAL = {"content_type": "application/pkcs10", "authorization": basic()}
LIMIT = Limits().body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def post_chunked(content: bytes, **fields: str | None) -> bytes:
    return message("POST", PATH, None, **USUAL | {"transfer_encoding": "chunked"} | fields) + content


def padded(size: int) -> bytes:
    """A good body of exactly that many bytes."""
    return CSR + b"\n" * (size - len(CSR))


@pytest.mark.parametrize("piece", [0, 1, 7])
def test_enc_16_chunked_bodies(world: World, piece: int) -> None:
    client = world.client()
    client.send(post_chunked(chunked(CSR[:5], CSR[5:6], CSR[6:])), piece)
    (answer,) = client.answers()
    assert answer.status == 200
    assert client.get(f"{EST}/cacerts").status == 200


def test_enc_16_chunk_extensions_and_trailers(world: World) -> None:
    client = world.client()
    client.send(post_chunked(b"%x;name=value\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(CSR), CSR)))
    (answer,) = client.answers()
    assert answer.status == 200


def test_enc_15_the_limit_is_exact_with_a_length(world: World) -> None:
    client = world.client()
    assert client.post(PATH, padded(LIMIT), authorization=basic()).status == 200
    answer = client.post(PATH, padded(LIMIT + 1), authorization=basic())
    assert answer.status == 413
    assert str(LIMIT) in answer.text
    assert client.closed


def test_enc_15_the_limit_is_exact_with_chunks(world: World) -> None:
    client = world.client()
    client.send(post_chunked(chunked(*[padded(LIMIT)[start : start + 4096] for start in range(0, LIMIT, 4096)])))
    assert client.answers()[0].status == 200
    client.send(post_chunked(chunked(padded(LIMIT), b"\n")))
    (answer,) = client.answers()
    assert answer.status == 413
    assert client.closed
    assert len(world.main.requests) == 1


def test_enc_15_a_chunked_upload_is_cut_half_way(world: World) -> None:
    client = world.client()
    client.send(post_chunked(b"%x\r\n" % (100 * LIMIT)))
    assert client.answers() == []
    sent = 0
    while not client.closed:
        client.send(b"A" * 1000)
        sent += 1000
        assert sent < 2 * LIMIT
    assert [answer.status for answer in client.answers()] == [413]


def test_enc_15_t22_the_limit_has_room_for_large_keys() -> None:
    assert LIMIT >= 64 * 1024


def test_enc_14_t23_continue_is_said(world: World) -> None:
    client = world.client()
    head = message("POST", PATH, None, **USUAL | {"content_length": str(len(CSR)), "expect": "100-Continue"})
    client.send(head)
    assert [answer.status for answer in client.answers()] == [100]
    client.send(CSR)
    assert [answer.status for answer in client.answers()] == [200]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"content_length": str(LIMIT + 1)}, 413),
        ({"content_length": "99999999999999999999"}, 413),
        ({"content_length": None}, 411),
        ({"content_length": "10", "content_encoding": "gzip"}, 415),
        ({"content_length": "10", "transfer_encoding": "chunked"}, 400),
        ({"content_length": "10", "host": None}, 400),
        ({"content_length": "10", "content_type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_enc_14_no_continue_before_a_refusal(world: World, fields: dict[str, str | None], status: int) -> None:
    client = world.client()
    client.send(message("POST", PATH, None, **USUAL | {"expect": "100-continue"} | fields))
    assert [answer.status for answer in client.answers()] == [status]
    assert client.closed


def test_enc_14_http_1_0_is_not_told_to_continue(world: World) -> None:
    client = world.client()
    client.send(message("POST", PATH, CSR, "HTTP/1.0", **USUAL | {"expect": "100-continue"}))
    assert [answer.status for answer in client.answers()] == [200]


def test_enc_17_without_a_length_what_follows_is_no_request(world: World) -> None:
    client = world.client()
    client.send(message("POST", PATH, None, **USUAL) + message("GET", f"{EST}/cacerts"))
    (answer,) = client.answers()
    assert answer.status == 411
    assert client.closed
    client.protocol.dataReceived(message("GET", f"{EST}/cacerts"))
    assert client.answers() == []
    assert not world.main.requests


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_enc_17_nor_with_another_method_that_has_a_body(world: World, method: str) -> None:
    client = world.client()
    client.send(message(method, PATH, None, **USUAL) + message("GET", f"{EST}/cacerts"))
    assert [answer.status for answer in client.answers()] == [411]
    assert client.closed


@pytest.mark.parametrize("method", ["post", "Post", "get", "head", "FOO", "PRI"])
def test_enc_17_a_method_that_is_not_known_ends_the_connection(world: World, method: str) -> None:
    client = world.client()
    client.send(message(method, f"{EST}/cacerts", None, **USUAL) + message("GET", f"{EST}/cacerts"))
    (answer,) = client.answers()
    assert answer.status == 501
    assert "in capitals" in answer.text
    assert client.closed


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "TRACE"])
def test_a_method_without_a_body_is_refused_and_the_connection_stays(world: World, method: str) -> None:
    client = world.client()
    client.send(message(method, f"{EST}/cacerts") + message("GET", f"{EST}/cacerts"))
    assert [answer.status for answer in client.answers()] == [405, 200]


def test_a_refused_head_request_has_no_body(world: World) -> None:
    client = world.client()
    client.send(message("HEAD", f"{EST}/cacerts", None, host=None))
    (answer,) = client.answers("HEAD")
    assert (answer.status, answer.body) == (400, b"")
    assert int(answer.field("Content-Length") or "0") > 0
    client = world.client()
    client.send(message("HEAD", f"{EST}/cacerts") + b"x" * 20_000)  # the next one's line is nobody's yet
    served, refused = client.answers("HEAD")
    assert (served.status, refused.status) == (200, 400)
    assert refused.body


def test_enc_17_http_1_0_without_a_length(world: World) -> None:
    client = world.client()
    client.send(message("POST", PATH, None, "HTTP/1.0", **USUAL) + CSR)
    assert [answer.status for answer in client.answers()] == [411]
    assert client.closed


def test_enc_19_connection_close_is_honoured(world: World) -> None:
    for value in ("close", "Close", "keep-alive, close", "close, TE"):
        client = world.client()
        answer = client.get(f"{EST}/cacerts", connection=value)
        assert answer.status == 200
        assert client.closed, value
        assert answer.field("Connection") == "close"


def test_enc_19_t14_http_1_0(world: World) -> None:
    client = world.client()
    answer = client.request("GET", f"{EST}/cacerts", None, "HTTP/1.0", host=None)
    assert answer.status == 200
    assert client.closed


def test_enc_19_pipelined_requests_are_answered_in_order(world: World) -> None:
    paths = [f"{EST}/cacerts", f"{EST}/nope", f"{EST}/csrattrs", f"{EST}/cacerts"]
    for piece in (0, 11):
        client = world.client()
        client.send(b"".join(message("GET", path) for path in paths), piece)
        assert [answer.status for answer in client.answers()] == [200, 404, 204, 200]
        assert not client.closed


def test_enc_21_no_content_has_neither_body_nor_length(world: World) -> None:
    for version in ("HTTP/1.1", "HTTP/1.0"):
        client = world.client()
        client.send(message("GET", f"{EST}/csrattrs", None, version))
        raw = client.transport.value()
        assert raw.startswith(version.encode() + b" 204 ")
        assert raw.endswith(b"\r\n\r\n")
        assert b"Content-" not in raw
        assert b"Transfer-Encoding" not in raw


@pytest.mark.parametrize("case", framing.CASES, ids=str)
@pytest.mark.parametrize("piece", [0, 1, 1000])
def test_enc_18_the_framing_corpus(world: World, case: framing.Case, piece: int) -> None:
    if piece == 1 and len(case.sent) > 20_000:
        piece = 500
    client = world.client()
    client.send(case.sent, piece)
    case.check([answer.status for answer in client.answers("HEAD" if case.head else "GET")], closed=client.closed)
    assert not world.main.requests
    assert world.client().get(f"{EST}/cacerts").status == 200
