"""Many connections and few open files: whoever has a connection keeps it, and the daemon keeps its own."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.conftest import check_log
from tests.process.sites import Site
from tests.support import pki, requirements
from tests.support.daemon import Daemon
from tests.web.fakes import body
from tests.web.wire import EST

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))


@pytest.fixture(autouse=True)
def prlimit() -> None:
    requirements.programs("prlimit", install="scripts/packages util-linux")


def limited(site: Site, soft: int, hard: int) -> Daemon:
    return Daemon(site.config, through=["prlimit", f"--nofile={soft}:{hard}"])


def crowd(site: Site, number: int) -> Iterator[socket.socket]:
    """Connections that say nothing."""
    for _ in range(number):
        yield socket.create_connection(("127.0.0.1", site.port), 10)


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return bool(connection.recv(1))
    return True


def soft_limit(daemon: Daemon) -> int:
    (line,) = (
        each
        for each in Path(f"/proc/{daemon.process.pid}/limits").read_text().splitlines()
        if each.startswith("Max open files")
    )
    return int(line.split()[3])


def test_the_soft_limit_of_a_login_shell_is_no_limit(own: Site) -> None:
    own.write(server={"max_connections": 400, "max_connections_per_address": 500, "idle_timeout": 300})
    with limited(own, 200, 4096) as daemon, ExitStack() as stack:
        assert 400 < soft_limit(daemon) < 4096
        inside = [stack.enter_context(each) for each in crowd(own, 390)]
        with own.client(own.device()).connect() as connection:
            assert connection.post(f"{EST}/simpleenroll", CSR).status == 200
        assert all(map(is_open, inside))
        own.write(server={"max_connections": 900, "max_connections_per_address": 900})
        daemon.reload()
        assert soft_limit(daemon) > 900
    check_log(daemon)
    assert "open files" not in daemon.log_text()


def test_where_the_hard_limit_is_low_those_who_are_inside_are_served(own: Site) -> None:
    own.write(server={"max_connections_per_address": 4096, "idle_timeout": 300})
    with limited(own, 256, 256) as daemon, ExitStack() as stack:
        daemon.logs("this process may have 256 open files: that is room for 128 connections on a port")
        with own.client(own.device()).connect() as connection:
            for each in crowd(own, 300):
                stack.enter_context(each)
            time.sleep(0.5)
            assert connection.post(f"{EST}/simpleenroll", CSR).status == 200  # with what that opens
            stack.close()
        daemon.logs("127.0.0.1 refused unheard: max_connections is reached")
        assert "EMFILE" not in daemon.log_text()
    check_log(daemon)
