"""Hostile and broken clients on real sockets: each gets a 4xx or is cut, nothing is logged, the next is served."""

from __future__ import annotations

import base64
import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kipuka.web.http.limits import LINGER
from tests.process.client import Connection
from tests.process.conftest import check_log
from tests.process.sites import ALICE, Site
from tests.support import broken, framing, pki, requirements
from tests.support.daemon import Daemon
from tests.web.fakes import basic, body
from tests.web.wire import EST, message

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
PATH = f"{EST}/simpleenroll"


@pytest.fixture(autouse=True)
def still_serves(site: Site, daemon: Daemon) -> Iterator[None]:
    """After each test a good client gets a certificate, and the log is clean."""
    yield
    with site.client(site.device()).connect() as connection:
        assert connection.post(PATH, CSR).status == 200
    check_log(daemon)


@pytest.mark.parametrize("case", framing.CASES, ids=str)
def test_enc_17_enc_18_the_framing_corpus(site: Site, case: framing.Case) -> None:
    with site.client().connect() as connection:
        try:
            connection.send(case.sent)
        except (ConnectionError, ssl.SSLError):
            assert case.closes is not False
        if case.closes is False:
            statuses = [connection.answer("HEAD" if case.head else "GET").status for _ in case.statuses[0]]
            case.check(statuses, closed=False)
            assert connection.get(f"{EST}/cacerts").status == 200
            return
        if case.closes is None:
            connection.send(message("GET", f"{EST}/cacerts", connection="close"))
        statuses = [answer.status for answer in connection.answers_until_closed()]
        if case.closes is None and statuses[-1:] == [200]:
            statuses.pop()
        # Unread bytes of the client make its system throw the answer away when the connection is cut.
        assert not statuses or tuple(statuses) in case.statuses, statuses


def test_enc_15_an_upload_without_end_is_cut(site: Site) -> None:
    with site.client().connect() as connection:
        connection.send(message("POST", PATH, transfer_encoding="chunked"))
        begun = time.monotonic()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            while time.monotonic() - begun < 4 * LINGER:
                connection.send(b"10000\r\n" + b"A" * 0x10000 + b"\r\n")
        assert time.monotonic() - begun < 3 * LINGER


def test_err_01_a_thousand_broken_bodies_on_one_connection(site: Site) -> None:
    chance = random.Random(7030)
    with site.client(site.device()).connect() as connection:
        for number in range(1000):
            status = connection.post(PATH, broken.mutated(chance, CSR)).status
            assert status in {400, 403}, number
        assert connection.post(PATH, CSR).status == 200


@pytest.fixture(scope="module")
def kept(site: Site, daemon: Daemon) -> Iterator[Connection]:
    with site.client(site.device()).connect() as connection:
        yield connection


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=broken.bodies())
def test_err_01_malformed_bodies(kept: Connection, content: bytes) -> None:
    assert kept.post(PATH, content).status in {400, 403}


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(garbage=st.binary(min_size=1, max_size=2000))
def test_enc_18_garbage_instead_of_http(site: Site, garbage: bytes) -> None:
    with site.client().connect() as connection:
        connection.send(garbage + b"\r\n\r\n\r\n\r\n")
        for answer in connection.answers_until_closed():
            assert 400 <= answer.status < 600


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(garbage=st.binary(min_size=1, max_size=2000), hello=st.booleans())
def test_tls_01_garbage_instead_of_tls(site: Site, garbage: bytes, hello: bool) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 10) as plain:
        plain.settimeout(10)
        plain.sendall((b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" if hello else b"") + garbage)
        plain.shutdown(socket.SHUT_WR)
        try:
            while data := plain.recv(4096):
                assert b"HTTP" not in data
        except ConnectionResetError:
            pass


def descriptors(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def memory(daemon: Daemon) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_enc_20_five_hundred_connections_that_are_dropped_leave_nothing_behind(site: Site, daemon: Daemon) -> None:
    if not Path("/proc/self/fd").exists():
        requirements.lacking("needs /proc")
    before = descriptors(daemon)
    context = site.client(site.device()).context()

    whole = message("POST", PATH, CSR, content_type="application/pkcs10", authorization=basic(*ALICE))

    def drop(number: int) -> None:
        with socket.create_connection(("127.0.0.1", site.port), 10) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))  # RST or FIN
            if number % 4 == 0:
                return
            if number % 4 == 1:
                plain.sendall(b"\x16\x03\x01\x00\xff")
                return
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(whole if number % 4 == 2 else whole[:-30])

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(drop, range(100)):
            pass
        warm = memory(daemon)
        for _ in pool.map(drop, range(400)):
            pass
    for _ in range(100):
        if descriptors(daemon) <= before:
            break
        time.sleep(0.1)
    assert descriptors(daemon) <= before
    assert memory(daemon) - warm < 20_000_000


def test_limits_of_connections_and_time_on_real_sockets(own: Site) -> None:
    own.write(server={"max_connections_per_address": 3, "header_timeout": 1, "body_timeout": 1, "idle_timeout": 2})
    with Daemon(own.config) as busy:
        time.sleep(0.2)
        with own.client().connect() as first, own.client().connect() as second, own.client().connect() as third:
            with pytest.raises((ConnectionError, ssl.SSLError)), own.client().connect() as fourth:
                fourth.get(f"{EST}/cacerts")
            busy.logs("127.0.0.1 refused unheard: max_connections_per_address is reached")
            first.send(b"GET")
            second.send(message("POST", PATH, content_length="100"))
            begun = time.monotonic()
            assert first.answer().status == 408
            assert second.answer().status == 408
            with pytest.raises(ConnectionError):
                third.answer()
            assert time.monotonic() - begun < 15
        with own.client().connect() as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
    check_log(busy)


def test_enc_20_whoever_says_nothing_or_reads_nothing_is_cut(own: Site) -> None:
    own.write(server={"header_timeout": 1, "body_timeout": 1, "idle_timeout": 1})
    with Daemon(own.config) as daemon:
        for hello in (b"", b"\x16\x03\x01\x00"):
            with socket.create_connection(("127.0.0.1", own.port), 10) as silent:
                silent.sendall(hello)
                with pytest.raises(ConnectionResetError):
                    silent.recv(100)
        requests = message("GET", f"{EST}/cacerts") * 100
        before, begun = memory(daemon), time.monotonic()
        with own.client().connect() as connection, pytest.raises((OSError, ssl.SSLError)):
            while time.monotonic() - begun < 30:
                connection.send(requests)  # blocks once nobody reads them any more
        assert time.monotonic() - begun < 25
        assert memory(daemon) - before < 50_000_000
        time.sleep(LINGER + 0.5)  # a timer that was forgotten would go off now
        with own.client().connect() as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
    check_log(daemon)


def test_enc_04_texts_are_said_over_the_wire(site: Site) -> None:
    with site.client(site.device()).connect() as connection:
        answer = connection.post(PATH, base64.b64decode(CSR))
        assert answer.status == 400
        assert "base64" in answer.text
