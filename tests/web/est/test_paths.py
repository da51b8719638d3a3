"""Addresses, labels and methods."""

from __future__ import annotations

import pytest

from tests.support import pki
from tests.web.est.test_operations import certificates
from tests.web.fakes import World, basic, body
from tests.web.wire import EST

GET_OPERATIONS = ("cacerts", "csrattrs")
POST_OPERATIONS = ("simpleenroll", "simplereenroll", "fullcmc", "serverkeygen")


@pytest.mark.parametrize("prefix", [EST, f"{EST}/lab", f"/lab{EST}"])
def test_uri_01_02_05_t13_the_three_addresses_of_each_operation(world: World, prefix: str) -> None:
    client = world.client(world.device().certificate)
    csr = body(pki.csr(pki.ec_key(), "CN=device-1"))
    assert client.get(f"{prefix}/cacerts").status == 200
    assert client.get(f"{prefix}/csrattrs").status == 204
    assert client.post(f"{prefix}/simpleenroll", csr).status == 200
    assert client.post(f"{prefix}/simplereenroll", csr).status == 200
    assert client.post(f"{prefix}/fullcmc", csr).status == 501
    assert client.post(f"{prefix}/serverkeygen", csr).status == 501


@pytest.mark.parametrize("address", [f"{EST}/{{}}/cacerts", f"/{{}}{EST}/cacerts"])
def test_uri_04_t13_a_label_selects_its_ca(world: World, address: str) -> None:
    client = world.client()
    assert certificates(client.get(address.format("lab"))) == [world.main.issuer.certificate]
    assert certificates(client.get(address.format("other"))) == [world.other.issuer.certificate]


@pytest.mark.parametrize(
    "path", [f"{EST}/nope/cacerts", f"/nope{EST}/cacerts", f"{EST}/LAB/cacerts", f"{EST}/lab%20/cacerts"]
)
def test_uri_07_an_unknown_label_is_nobodys(world: World, path: str) -> None:
    answer = world.client().get(path)
    assert answer.status == 404
    assert not any(name in answer.text for name in ("lab,", "other", "mtls", "main"))
    answer = world.client().post(f"{EST}/nope/simpleenroll", b"x", authorization=basic())
    assert answer.status == 404
    assert not world.main.requests


def test_uri_08_labels_are_compared_after_percent_decoding(world: World) -> None:
    answer = world.client().get(f"{EST}/%6c%61%62/cacerts")
    assert answer.status == 200
    assert world.client().get(f"{EST}/%6c%61%62/%63acerts").status == 200


TRICKS = [
    f"{EST}/%2e%2e/cacerts",
    f"{EST}/%2E/cacerts",
    f"{EST}/../cacerts",
    f"{EST}/./cacerts",
    f"{EST}//cacerts",
    f"/{EST}/cacerts",
    f"{EST}/a%2Fb/cacerts",
    f"{EST}/a%2fcacerts",
    f"{EST}/lab%2fcacerts",
    f"{EST}/lab%5ccacerts",
    f"{EST}/lab\\cacerts",
    f"{EST}/lab%00/cacerts",
    f"{EST}/lab%0a/cacerts",
    f"{EST}/%/cacerts",
    f"{EST}/%zz/cacerts",
    f"{EST}/%252e%252e/cacerts",
    f"{EST}/%ff%fe/cacerts",
    f"{EST}/%c0%ae/cacerts",
    f"{EST}/%ed%a0%80/cacerts",
    f"{EST}/%e2%80%ae/cacerts",
    f"{EST}/{'a' * 4000}/cacerts",
    "/.well-known%2fest/cacerts",
    "/.well-known/est/cacerts;x=1",
    "*",
    "cacerts",
    f"x{EST[1:]}/cacerts",
    f"?{EST}/cacerts",
    f"ftp://est.example{EST}/cacerts",
    "//est.example/.well-known/est/cacerts",
    "/.WELL-KNOWN/EST/cacerts",
]


@pytest.mark.parametrize("path", TRICKS)
def test_uri_08_disguised_paths_are_nothing(world: World, path: str) -> None:
    client = world.client()
    answer = client.get(path)
    assert answer.status == 404
    assert answer.text.isascii()
    assert client.get(f"{EST}/cacerts").status == 200


@pytest.mark.parametrize("path", [f"{EST}/\xff/cacerts", "/\xe9%C3", f"{EST}/ /cacerts", f"{EST}/\x01/cacerts"])
def test_uri_08_bytes_that_belong_in_no_request_line(world: World, path: str) -> None:
    assert world.client().get(path).status in {400, 404}


@pytest.mark.parametrize(
    "path", ["/.well-known/est", "/.well-known/est/", "/", "/.well-known/", f"{EST}/lab", f"{EST}/lab/"]
)
def test_uri_09_uri_14_no_operation_and_no_redirect(world: World, path: str) -> None:
    assert world.client().get(path).status == 404


@pytest.mark.parametrize(
    "path",
    [f"{EST}/cacerts/", f"{EST}/lab/cacerts/", f"{EST}/lab/b/cacerts", f"/a/b{EST}/cacerts", f"{EST}/cacerts/lab"],
)
def test_uri_10_more_segments_are_no_operation(world: World, path: str) -> None:
    assert world.client().get(path).status == 404


def test_uri_10_label_before_and_after_is_nothing(world: World) -> None:
    assert world.client().get(f"/lab{EST}/lab/cacerts").status == 404


@pytest.mark.parametrize("query", ["?x=1", "?", "?a=b&a=%00", "?/../", "?%ff", "?" + "&".join(["a=b"] * 2000)])
def test_uri_11_queries_mean_nothing(world: World, query: str) -> None:
    client = world.client()
    assert client.get(f"{EST}/cacerts{query}").body == client.get(f"{EST}/cacerts").body


@pytest.mark.parametrize("operation", GET_OPERATIONS + POST_OPERATIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_uri_12_wrong_methods(world: World, operation: str, method: str) -> None:
    right = ("GET", "HEAD") if operation in GET_OPERATIONS else ("POST",)
    content = b"" if method in {"POST", "PUT", "PATCH"} else None
    answer = world.client().request(method, f"{EST}/{operation}", content)
    if method in right:
        assert answer.status != 405
        return
    assert answer.status == 405
    assert answer.field("Allow") == ", ".join(right)
    assert method == "HEAD" or right[0] in answer.text


@pytest.mark.parametrize("path", ["/cacerts", "/p384/csrattrs", "/csrattrs", "/nope/cacerts"])
def test_uri_13_head_is_get_without_the_body(world: World, path: str) -> None:
    client = world.client()
    head, get = client.request("HEAD", EST + path), client.get(EST + path)
    assert (head.status, head.body) == (get.status, b"")
    names = [name for name, _ in get.fields]
    assert [name for name, _ in head.fields] == names
    assert head.field("Content-Length") == get.field("Content-Length")
    assert client.get(f"{EST}/cacerts").status == 200  # nothing was left between the answers


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
def test_the_absolute_form_of_the_target(world: World, scheme: str) -> None:
    assert world.client().get(f"{scheme}://est.example{EST}/cacerts").status == 200
    assert world.client().get(f"{scheme}://est.example").status == 404


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", f"x{EST[1:]}/cacerts"), ("GET", "?x"), ("OPTIONS", "*"), ("CONNECT", "a.example:443")],
)
def test_a_target_begins_with_a_slash(world: World, method: str, target: str) -> None:
    answer = world.client().request(method, target)
    assert answer.status == 404
    assert "begin it with a slash" in answer.text


@pytest.mark.parametrize(
    "host", ["", "..", "a..b", "x" * 300, "est.example:99999999", "[::1", "\xff\xfe", "a b", "é", "%00"]
)
def test_strange_hosts_change_nothing(world: World, host: str) -> None:
    client = world.client()
    answer = client.get(f"{EST}/cacerts", host=host)
    assert answer.status in {200, 400}
