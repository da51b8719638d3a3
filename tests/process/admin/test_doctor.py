"""``kipuka doctor`` as a person types it: exit code, output while it works, an end in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.sites import Site
from tests.support.daemon import ROOT
from tests.support.dogtag.server import DogtagServer

SILENT = """
[[ca]]
id = "{id}"
type = "dogtag"
url = "https://localhost:{port}"
agent_cert = "ca.pem"
agent_key = "ca-key.pem"
ca_cert = "ca.pem"
profile = "p"
timeout = "{timeout}s"
"""


def started(config: Path, *options: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "kipuka", "doctor", str(config), *options],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def doctor(config: Path, *options: str) -> tuple[int, str, str]:
    process = started(config, *options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("localhost", 0)) as listening:
        yield listening.getsockname()[1]


def test_local_ca(tmp_path: Path) -> None:
    site = Site(tmp_path)
    code, out, err = doctor(site.write(), "--enroll")
    assert (code, err) == (0, "")
    assert "ok      ca main: nothing to enroll: only a Dogtag is asked" in out
    assert "faults: 0" in out.splitlines()[-1]
    assert f"https://localhost:{site.port}/.well-known/est/linked/simpleenroll" in out
    assert "what /cacerts serves: CN=" in out
    assert not (tmp_path / "kipuka.db").exists()


def test_json_is_a_value_a_line(tmp_path: Path) -> None:
    site = Site(tmp_path)
    config = site.write(tls={"min_version": "1.9"})
    code, out, _ = doctor(config, "--json")
    assert code == 1
    values = [json.loads(line) for line in out.splitlines()]
    assert [each["text"].split(":")[0] for each in values if each.get("level") == "fault"] == ["tls.min_version"]
    assert [(each["label"], each["notes"]) for each in values if "clients" in each] == [(None, []), ("linked", [])]
    assert len([each for each in values if each.get("subject") == "tls"]) > 2  # the rest was looked at all the same


def test_silent_servers_are_asked_at_the_same_time_and_given_up(tmp_path: Path, silent: int) -> None:
    site = Site(tmp_path)
    config = site.write()
    config.write_text(config.read_text() + "".join(SILENT.format(id=f"s{n}", port=silent, timeout=3) for n in range(4)))
    begin = time.monotonic()
    code, out, _ = doctor(config)
    assert code == 1
    assert out.count("does not complete a TLS handshake: no answer within 3 s") == 4
    assert time.monotonic() - begin < 12  # one after the other: 12 and the start of Python


def test_output_comes_while_it_works_and_ctrl_c_ends_it(tmp_path: Path, silent: int) -> None:
    site = Site(tmp_path)
    config = site.write()
    config.write_text(config.read_text() + SILENT.format(id="s", port=silent, timeout=60))
    process = started(config)
    try:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("ok      store"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_who_reads_no_more_ends_it(tmp_path: Path, silent: int, lines: int) -> None:
    site = Site(tmp_path)
    config = site.write()
    config.write_text(config.read_text() + SILENT.format(id="s", port=silent, timeout=60))
    process = started(config)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 128 + signal.SIGPIPE
        with process.stderr as stderr:
            assert stderr.read() == ""
    finally:
        process.kill()
        process.wait()


def test_dogtag_that_is_none(tmp_path: Path) -> None:
    """Real connections with the agent certificate; the stand-in knows nothing of /info, as a proxy may not."""
    site = Site(tmp_path)
    folder = tmp_path / "dogtag"
    folder.mkdir()
    with DogtagServer(folder) as dogtag:
        config = site.write()
        config.write_text(config.read_text() + dogtag.table(profile="kipukaServer"))
        code, out, err = doctor(config)
    assert (code, err) == (1, "")
    assert "fault   ca dogtag: nothing answers at /ca/rest, /ca/v1 or /ca/v2" in out
    assert "the server's certificate is good for localhost and leads to ca_cert" in out
