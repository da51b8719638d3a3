"""SIGTERM: no new connections, what is in hand is finished, and then the process ends."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tests.process.conftest import check_log
from tests.process.sites import Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.fakes import basic, body
from tests.web.wire import EST, message

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
POST = message("POST", f"{EST}/simpleenroll", CSR, content_type="application/pkcs10", authorization=basic())


def no_longer_listens(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionError:
            return
        time.sleep(0.05)
    raise AssertionError("the daemon still takes connections")


def ended(daemon: Daemon) -> None:
    assert daemon.wait() in {0, -signal.SIGTERM}
    check_log(daemon)


@pytest.mark.parametrize("sent", [10, len(POST) - 100])
def test_a_request_in_hand_is_answered_before_the_end(own: Site, sent: int) -> None:
    own.write()
    with Daemon(own.config) as daemon, own.client().connect() as connection, own.client().connect() as idle:
        assert idle.get(f"{EST}/cacerts").status == 200
        connection.send(POST[:sent])
        time.sleep(1)  # let the beginning arrive
        daemon.signal(signal.SIGTERM)
        no_longer_listens(own.port)
        with pytest.raises(ConnectionError):
            idle.answer()
        idle.stream.close()
        assert daemon.running
        connection.send(POST[sent:])
        answer = connection.answer()
        assert answer.status == 200
        assert answer.field("Connection") == "close"
        with pytest.raises(ConnectionError):
            connection.answer()
        connection.stream.close()
        ended(daemon)


def test_whoever_takes_too_long_is_cut_off(own: Site) -> None:
    own.write(server={"shutdown_timeout": 1})
    with Daemon(own.config) as daemon, own.client().connect() as connection:
        connection.send(POST[:-10])
        time.sleep(0.3)
        before = time.monotonic()
        daemon.signal(signal.SIGTERM)
        ended(daemon)
        assert 0.8 < time.monotonic() - before < 20
    assert "cut off" in daemon.log_text()


def test_a_connection_in_its_handshake_does_not_hold_the_end_up(own: Site) -> None:
    own.write()
    with Daemon(own.config) as daemon, socket.create_connection(("127.0.0.1", own.port), 5) as silent:
        silent.sendall(b"\x16\x03\x01")
        time.sleep(0.2)
        before = time.monotonic()
        daemon.signal(signal.SIGTERM)
        ended(daemon)
        assert time.monotonic() - before < 20


def test_the_same_port_can_be_used_again_at_once(own: Site) -> None:
    own.write()
    for _ in range(2):
        with Daemon(own.config) as daemon, own.client().connect() as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
        check_log(daemon)
