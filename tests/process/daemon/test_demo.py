"""``kipuka demo`` as a person types it: the walk-through, the second run, the commands it prints, and how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import requirements
from tests.support.daemon import ROOT, free_port

TIMEOUT = 60
"""Seconds for a whole demo; it takes two or three."""


def words(*options: str) -> list[str]:
    return [sys.executable, "-m", "kipuka", "demo", *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a demo that ends by itself, in the folder."""
    return subprocess.run(
        words(*options), cwd=folder, env=environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


class Serving:
    """A demo that serves until it is told to end."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            words(*options),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.shown = ""

    def wait_until_serving(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.shown += line
            if line.startswith("Serving on port "):
                return
        raise AssertionError(f"the demo ended: {self.shown}{self.process.communicate(timeout=TIMEOUT)}")

    def end(self, number: int) -> tuple[int, str]:
        """Send the signal as a terminal does, to the whole foreground group; return the exit code and all errors."""
        os.killpg(self.process.pid, number)
        rest, errors = self.process.communicate(timeout=TIMEOUT)
        self.shown += rest
        return self.process.returncode, errors


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Serving]:
    process = Serving(folder, options)
    try:
        process.wait_until_serving()
        yield process
    finally:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGTERM)
            process.process.communicate(timeout=TIMEOUT)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def serial(shown: str) -> int:
    found = re.findall(r"^serial 0x([0-9a-f]+)$", shown, re.MULTILINE)
    assert len(found) == 1, shown
    return int(found[0], 16)


def commands(shown: str) -> str:
    return "".join(f"{line[4:]}\n" for line in shown.splitlines() if line.startswith("    "))


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_once(tmp_path: Path) -> None:
    port = free_port()
    done = demo(tmp_path, "--once", "--port", str(port))
    assert (done.returncode, done.stderr) == (0, ""), done
    folder = tmp_path / "kipuka-demo"
    first, renewed = certificate(folder / "device/first.pem"), certificate(folder / "device/renewed.pem")
    assert serial(done.stdout) == renewed.serial_number
    assert f"0x{first.serial_number:x}" in done.stdout
    assert renewed.subject == first.subject
    assert renewed.public_key() != first.public_key()
    renewed.verify_directly_issued_by(certificate(folder / "ca.pem"))
    assert "Traceback" not in (folder / "kipuka.log").read_text()
    assert not answers(port)


def test_keys_and_passwords_are_nobody_elses(tmp_path: Path) -> None:
    done = demo(tmp_path, "--once", "--port", "0", "--dir", "d")
    assert done.returncode == 0, done
    secret = [*tmp_path.glob("d/**/*-key.pem"), tmp_path / "d/password", tmp_path / "d/users"]
    assert len(secret) == 6
    assert {oct(path.stat().st_mode & 0o777) for path in secret} == {"0o600"}
    password = (tmp_path / "d/password").read_text().strip()
    assert password not in done.stdout + (tmp_path / "d/kipuka.log").read_text()


def test_second_run_keeps_the_ca(tmp_path: Path) -> None:
    first = demo(tmp_path, "--once", "--port", "0", "--dir", "d")
    ca = (tmp_path / "d/ca.pem").read_bytes()
    second = demo(tmp_path, "--once", "--port", "0", "--dir", "d")
    assert (first.returncode, second.returncode) == (0, 0), second
    assert (tmp_path / "d/ca.pem").read_bytes() == ca
    assert serial(first.stdout) != serial(second.stdout)


@pytest.mark.parametrize("name", ["ca.pem", "server-key.pem", "users", "password"])
def test_damaged_files_are_made_anew(tmp_path: Path, name: str) -> None:
    assert demo(tmp_path, "--once", "--port", "0", "--dir", "d").returncode == 0
    (tmp_path / "d" / name).write_text("damaged\n")
    second = demo(tmp_path, "--once", "--port", "0", "--dir", "d")
    assert (second.returncode, second.stderr) == (0, "")


def test_folder_of_somebody_else(tmp_path: Path) -> None:
    other = tmp_path / "mine"
    other.mkdir()
    (other / "kipuka.toml").write_text("# my own\n")
    done = demo(tmp_path, "--once", "--port", "0", "--dir", str(other))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"kipuka: {other} holds something else than a demo")
    assert [(path.name, path.read_text()) for path in other.iterdir()] == [("kipuka.toml", "# my own\n")]


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "kipuka-demo").write_text("")
    done = demo(tmp_path, "--once", "--port", "0")
    assert done.returncode == 1
    assert done.stderr == (
        f"kipuka: cannot use {tmp_path / 'kipuka-demo'}: there is a file of that name; name another folder with --dir\n"
    )


def test_port_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = demo(tmp_path, "--once", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"kipuka: cannot listen on port {port}: it is taken; try another, or --port 0 for any\n"


@pytest.mark.parametrize("port", ["65536", "-1", "http", "٣"])
def test_no_port(tmp_path: Path, port: str) -> None:
    done = demo(tmp_path, "--once", f"--port={port}")
    assert done.returncode == 2
    assert "expected a number from 0 to 65535" in done.stderr


def test_default_port_taken(tmp_path: Path) -> None:
    """Whether somebody else has port 8443 or this test takes it: the demo says so and goes on."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 8443)))
        done = demo(tmp_path, "--once")
    assert done.returncode == 0, done
    assert re.match(r"Port 8443 is taken, so the demo uses [0-9]+\.\n", done.stdout)


def test_ctrl_c(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as running:
        port = int(running.shown.rsplit("Serving on port ", 1)[1].split()[0])
        context = ssl.create_default_context(cafile=tmp_path / "kipuka-demo/ca.pem")
        with socket.create_connection(("localhost", port)) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
        code, errors = running.end(signal.SIGINT)
    assert (code, errors) == (0, "")
    assert running.shown.endswith("The demo ends.\n")
    assert not answers(port)
    assert "Traceback" not in (tmp_path / "kipuka-demo/kipuka.log").read_text()


def test_told_to_end(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as running:
        port = int(running.shown.rsplit("Serving on port ", 1)[1].split()[0])
        running.process.terminate()
        _, errors = running.process.communicate(timeout=TIMEOUT)
    assert (running.process.returncode, errors) == (128 + signal.SIGTERM, "")
    assert not answers(port)


def test_two_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0"):
        done = demo(tmp_path, "--once", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"kipuka: a demo is running in {tmp_path / 'kipuka-demo'}; ")


def test_daemon_that_dies(tmp_path: Path) -> None:
    """Its log is shown."""
    with serving(tmp_path, "--port", "0") as running:
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        _, errors = running.process.communicate(timeout=TIMEOUT)
    assert running.process.returncode == 1
    assert errors.startswith("kipuka: the daemon ended by itself with code -9; the end of its log, ")
    assert "serving EST on 127.0.0.1" in errors
    assert "Traceback" not in errors


def test_daemon_that_does_not_start(tmp_path: Path) -> None:
    """What it had to say is shown."""
    (tmp_path / "twisted.py").write_text("raise SystemExit('no Twisted today')\n")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = subprocess.run(
        words("--once", "--port", "0"),
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("kipuka: the daemon did not start; the end of its log, ")
    assert done.stderr.endswith("  no Twisted today\n")


@pytest.mark.parametrize("name", ["d", "a folder: with 'odd' $(names) \\"])
def test_printed_commands_work_as_printed(tmp_path: Path, name: str) -> None:
    requirements.programs("bash", "curl", "openssl")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with serving(tmp_path, "--port", "0", "--dir", name) as running:
        done = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=commands(running.shown),
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        code, errors = running.end(signal.SIGINT)
    assert done.returncode == 0, done.stderr
    assert (code, errors) == (0, "")
    by_hand = tmp_path / name / "by-hand"
    first, renewed = certificate(by_hand / "first.pem"), certificate(by_hand / "renewed.pem")
    assert first.serial_number != renewed.serial_number
    for each in (first, renewed):
        each.verify_directly_issued_by(certificate(tmp_path / name / "ca.pem"))
        assert f"serial={each.serial_number:X}" in done.stdout.replace("serial=0", "serial=")
    assert list(elsewhere.iterdir()) == []


def test_without_curl_and_openssl(tmp_path: Path) -> None:
    """They matter to the printed commands only."""
    done = subprocess.run(
        words("--once", "--port", "0"),
        cwd=tmp_path,
        env={**environment(), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Not installed here: curl and openssl." in done.stdout
    assert serial(done.stdout)
