"""What a syslog daemon gets."""

from __future__ import annotations

import os
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kipuka.observe.audit import syslog
from kipuka.observe.audit.file import AuditUnavailable
from kipuka.observe.audit.syslog import Syslog

NOW = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)
LINES = ['{"seq": 1}', '{"seq": 2}']
HEADER = f"<85>1 2026-11-23T12:00:00.000005Z ra1.example.com kipuka {os.getpid()} audit - "


def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        sending = Syslog("udp", "127.0.0.1", daemon.getsockname()[1], "ra1.example.com")
        sending.send(LINES, NOW)
        assert [daemon.recv(65536).decode() for _ in LINES] == [HEADER + line for line in LINES]
        sending.close()


def test_tcp_counts_octets_and_connects_anew() -> None:
    with socket.create_server(("127.0.0.1", 0)) as daemon:
        daemon.settimeout(10)
        sending = Syslog("tcp", "127.0.0.1", daemon.getsockname()[1], "ra1.example.com")
        for _ in range(2):
            sending.send(LINES, NOW)
            connection, _ = daemon.accept()
            with connection:
                sending.close()
                received = connection.makefile("rb").read().decode()
            messages = [HEADER + line for line in LINES]
            assert received == "".join(f"{len(each)} {each}" for each in messages)


def test_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "DEVICE", str(tmp_path / "log"))
    sending = Syslog("local", "", 0, "ra1")
    with pytest.raises(AuditUnavailable, match=re.escape(f"syslog ({tmp_path / 'log'}) cannot be reached: No such")):
        sending.send(LINES, NOW)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(10)
        sending.send(LINES, NOW)
        assert daemon.recv(65536).decode() == f"<85>kipuka[{os.getpid()}]: {LINES[0]}"
    sending.close()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(AuditUnavailable, match=f"tcp:127.0.0.1:{port}"):
        Syslog("tcp", "127.0.0.1", port, "ra1").send(LINES, NOW)


@pytest.mark.parametrize(("name", "written"), [("", "-"), ("a b\n", "a?b?"), ("x" * 300, "x" * 255)])
def test_a_strange_machine_name(name: str, written: str) -> None:
    assert syslog._host(name) == written
