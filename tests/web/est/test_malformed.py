"""Malformed requests by the thousand: every one is answered with a 4xx, nothing is logged as a failure."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import broken
from tests.web.fakes import World
from tests.web.wire import EST, message

OPERATIONS = st.sampled_from(["simpleenroll", "simplereenroll", "linked/simpleenroll", "p384/simpleenroll"])


class Shared:
    """One world for all examples of a test: it must survive them all."""

    def __init__(self) -> None:
        self.world = World()
        self.client = self.world.client(self.world.device().certificate)


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=broken.bodies(), operation=OPERATIONS)
def test_err_01_enc_05_malformed_bodies(content: bytes, operation: str) -> None:
    answer = SHARED.client.post(f"{EST}/{operation}", content)
    assert answer.status in {400, 403}
    assert answer.text.isascii()
    assert not SHARED.world.main.requests


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.text(alphabet="abc/.%2eEfF5c\\;?#~", max_size=60), method=st.sampled_from(["GET", "POST", "HEAD"]))
def test_uri_08_paths(path: str, method: str) -> None:
    answer = SHARED.client.request(method, f"/{path}", b"" if method == "POST" else None)
    assert answer.status == 404


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(st.sampled_from(["Content-Length", "Transfer-Encoding", "Host", "Expect", "Content-Type", "X"])),
    values=st.lists(st.text(alphabet='0123chunked, ;=\t"\xff\x00\r\n', max_size=20)),
    rest=st.binary(max_size=100),
)
def test_enc_18_header_fields(names: list[str], values: list[str], rest: bytes) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in zip(names, values, strict=False))
    client = SHARED.world.client()
    client.send(f"POST {EST}/simpleenroll HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1") + rest)
    assert all(answer.status == 100 or 400 <= answer.status < 500 for answer in client.answers())
    client.hang_up()
    assert not SHARED.world.main.requests


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=st.one_of(st.binary(max_size=100), st.text(max_size=50).map(lambda text: b"Basic " + text.encode())))
def test_auth_09_authorization(value: bytes) -> None:
    clean = value.translate(None, b"\r\n\0")
    client = SHARED.world.client()
    client.send(
        message("POST", f"{EST}/simpleenroll", b"x", content_type="application/pkcs10").replace(
            b"\r\n\r\n", b"\r\nAuthorization: " + clean + b"\r\n\r\n"
        )
    )
    (answer,) = client.answers()
    assert answer.status == 401
    client.hang_up()


SHARED = Shared()
