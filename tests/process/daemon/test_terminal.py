"""A daemon that detaches: passphrases are asked for at the terminal before that, and known at a reload after it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.process.sites import Site
from tests.support.daemon import RELOADED, ROOT, TWISTD
from tests.web.wire import EST

TLS, CA = "open sesame", "swordfish"
PATIENCE = 40
TAKE = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal at standard input the controlling one, which is where a passphrase is asked for."""


class Terminal:
    """A person at a terminal, and the command that was typed there."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE, *command], cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def expect(self, text: str) -> None:
        """Read until the text is there."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._more(), self.seen

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def ended(self) -> int:
        """Read to the end, and return how the command ended; what it left behind has let go of the terminal."""
        while self._more():
            pass
        return self._process.wait(PATIENCE)

    def _more(self) -> bool:
        readable, _, _ = select.select([self._master], [], [], PATIENCE)
        assert readable, self.seen
        try:
            data = os.read(self._master, 4096)
        except OSError:  # nobody has the other end open any more
            return False
        self.seen += data.decode()
        return bool(data)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether it is there, and not only because nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def encrypted(own: Site) -> Site:
    """Two keys with passphrases that no file names."""
    own.tls_root.server().write(own.folder, "tls", TLS)
    own.ca.write(own.folder, "ca", CA)
    own.write()
    (own.folder / "run").mkdir()
    return own


def twistd(site: Site) -> Terminal:
    # The daemon is elsewhere than where its files were named.
    options = ["--rundir=run", f"--pidfile={site.folder}/pid", f"--logfile={site.folder}/log"]
    return Terminal(site.folder, str(TWISTD), *options, "kipuka", "--config", "kipuka.toml")


def test_passphrases_typed_before_it_detaches_serve_until_the_end(encrypted: Site) -> None:
    site = encrypted
    pid_file, log = site.folder / "pid", site.folder / "log"
    with twistd(site) as terminal:
        terminal.expect(f"Passphrase of {site.folder}/tls-key.pem: ")
        terminal.type("a guess")
        terminal.expect(f"Passphrase of {site.folder}/tls-key.pem (try 2 of 3): ")
        terminal.type(TLS)
        terminal.expect(f"Passphrase of {site.folder}/ca-key.pem: ")
        terminal.type(CA)
        assert terminal.ended() == 0, terminal.seen
    assert terminal.seen.count("Passphrase of") == 3
    assert not any(secret in terminal.seen for secret in (TLS, CA, "a guess"))
    until(pid_file.exists)
    pid = int(pid_file.read_text())
    try:
        until(lambda: "serving EST" in log.read_text())
        with site.client().connect() as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
            assert connection.get(f"{EST}/new/cacerts").status == 404
        with site.config.open("a") as config:
            config.write('[[est.label]]\nname = "new"\nca_id = "main"\n')
        os.kill(pid, signal.SIGHUP)
        until(lambda: RELOADED[True] in log.read_text())
        with site.client().connect() as connection:
            assert connection.get(f"{EST}/new/cacerts").status == 200
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_running(pid))
    finally:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)
    assert not pid_file.exists()
    said = log.read_text()
    assert "Traceback" not in said
    assert not any(secret in said for secret in (TLS, CA))


def test_three_wrong_passphrases_end_the_start(encrypted: Site) -> None:
    with twistd(encrypted) as terminal:
        for number in ("", " (try 2 of 3)", " (try 3 of 3)"):
            terminal.expect(f"Passphrase of {encrypted.folder}/tls-key.pem{number}: ")
            terminal.type("a guess")
        terminal.expect(f"Passphrase of {encrypted.folder}/ca-key.pem: ")
        terminal.type(CA)
        assert terminal.ended() == 1
    *_, line = terminal.seen.strip().splitlines()
    assert line == f"{encrypted.config}: tls.key: the passphrase does not open {encrypted.folder}/tls-key.pem"
    assert not (encrypted.folder / "pid").exists()
