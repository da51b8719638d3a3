"""Limits of the process on open files: raised where that is allowed, else there are fewer connections."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from kipuka.assembly.descriptors import RESERVE, Limit, within_limits
from kipuka.config.load import build
from kipuka.config.model import Config

AGENT = {"agent_cert": "a", "agent_key": "k", "ca_cert": "c", "type": "dogtag", "profile": "p", "url": "https://a"}
DOGTAG = 2 * (20 + 8)


def config(connections: int, *, own_port: bool = False) -> Config:
    server: dict[str, object] = {"listen": "127.0.0.1:1", "max_connections": connections}
    tables: dict[str, object] = {"tls": {"cert": "c", "key": "k"}, "est": {"users": "u"}, "server": server}
    if own_port:
        tables["admin"] = {"listen": "127.0.0.1:2", "tokens": "t"}
    return build(tables | {"ca": [AGENT | {"id": "one", "max_connections": 20}]}, Path("/etc/kipuka"))


class Process:
    def __init__(self, soft: int, hard: int, *, fixed: bool = False) -> None:
        self.limit = (soft, hard)
        self.fixed = fixed

    def get(self, kind: int) -> Limit:
        assert kind == resource.RLIMIT_NOFILE
        return self.limit

    def change(self, _: int, limit: Limit) -> None:
        if self.fixed:
            raise PermissionError
        assert limit[1] == self.limit[1]
        self.limit = limit

    def connections(self, wanted: Config) -> tuple[int, list[str]]:
        with capturedLogs() as logged:
            server = within_limits(wanted, self.get, self.change)
        assert server.model_copy(update={"max_connections": wanted.server.max_connections}) == wanted.server
        return server.max_connections, [formatEvent(event) for event in logged]


@pytest.mark.parametrize("hard", [524288, resource.RLIM_INFINITY])
def test_the_soft_limit_is_raised_as_far_as_needed(hard: int) -> None:
    process = Process(1024, hard)
    assert process.connections(config(4096)) == (4096, [])
    assert process.limit == (4096 + RESERVE + DOGTAG, hard)
    assert process.connections(config(4096, own_port=True)) == (4096, [])
    assert process.limit == (2 * 4096 + RESERVE + DOGTAG, hard)


@pytest.mark.parametrize("soft", [100_000, resource.RLIM_INFINITY])
def test_a_limit_that_is_high_enough_stays(soft: int) -> None:
    process = Process(soft, resource.RLIM_INFINITY)
    assert process.connections(config(4096)) == (4096, [])
    assert process.limit[0] == soft


@pytest.mark.parametrize(("own_port", "room"), [(False, 816), (True, 408)])
def test_where_the_hard_limit_is_in_the_way_there_are_fewer_connections(own_port: bool, room: int) -> None:
    process = Process(256, 1000)
    found, (line,) = process.connections(config(4096, own_port=own_port))
    assert found == room
    assert process.limit == (1000, 1000)
    assert line.startswith(f"this process may have 1000 open files: that is room for {room} connections on a port")
    assert "max_connections is 4096" in line
    assert process.connections(config(room, own_port=own_port)) == (room, [])


def test_a_sandbox_that_forbids_it() -> None:
    found, lines = Process(1024, 524288, fixed=True).connections(config(4096))
    assert (found, len(lines)) == (1024 - RESERVE - DOGTAG, 1)


def test_there_is_always_room_for_somebody() -> None:
    assert Process(64, 64).connections(config(4096))[0] == 16
    assert Process(6, 6).connections(config(4096, own_port=True))[0] == 1


def test_the_documented_line() -> None:
    def line(*cas: dict[str, object]) -> str:
        tables = {"tls": {"cert": "c", "key": "k"}, "est": {"users": "u"}, "ca": cas}
        return Process(1024, 1024).connections(build(tables, Path("/etc/kipuka")))[1][0]

    document = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    shown = line({"id": "local", "cert": "c", "key": "k"}).partition(". Raise")[0]
    assert f"[kipuka#warn] {shown}. ..." in document
    (room,) = re.findall("beside one Dogtag there is room for ([0-9]+)", document)
    assert f"room for {room} connections" in line(AGENT | {"id": "dogtag"})
