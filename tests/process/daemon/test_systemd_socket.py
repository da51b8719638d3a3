"""Sockets that systemd opened, handed over as sd_listen_fds(3) has it: descriptors from 3 on, and their names."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.process.sites import Site
from tests.support.daemon import ROOT, TWISTD
from tests.web.wire import EST


def start(site: Site, listening: socket.socket, name: str, log: Path) -> subprocess.Popen[bytes]:
    """Do what systemd does: the variables name this very process, and the socket is descriptor 3."""
    arguments = [str(TWISTD), "--nodaemon", "--pidfile=", "kipuka", "--config", str(site.config)]
    with log.open("wb") as output:
        return subprocess.Popen(
            ["bash", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{listening.fileno()}', "bash", *arguments],
            cwd=site.config.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LISTEN_FDNAMES": name},
            pass_fds=(listening.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def test_a_socket_of_systemd_is_served(own: Site, tmp_path: Path) -> None:
    own.write(server={"listen": "systemd:est"})
    with socket.create_server(("127.0.0.1", own.port)) as listening:
        process = start(own, listening, "est", tmp_path / "log")
        try:
            with own.client().connect() as connection:  # the backlog holds the client until the daemon accepts
                assert connection.get(f"{EST}/cacerts").status == 200
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def test_a_socket_of_another_name_is_one_line_and_exit_code_1(own: Site, tmp_path: Path) -> None:
    own.write(server={"listen": "systemd:est"})
    with socket.create_server(("127.0.0.1", own.port)) as listening:
        process = start(own, listening, "admin", tmp_path / "log")
        assert process.wait(30) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.endswith("cannot listen on systemd:est: systemd hands over no socket of this name")
