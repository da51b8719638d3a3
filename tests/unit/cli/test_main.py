"""The command line as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from kipuka import __version__, cli
from kipuka.access.credentials.users import hash_password
from tests.support import pki
from tests.support.daemon import ROOT
from tests.unit.config.texts import MINIMAL
from tests.unit.observe.audit import records


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"kipuka {__version__}\n"


@pytest.mark.parametrize("words", [[], ["chek"], ["check"], ["user"], ["user", "add", "FILE"]])
def test_wrong_command_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: kipuka" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"\n    {name} " in shown or f"\n    {name}\n" in shown  # a long one has a line of its own
        assert callable(import_module(f"kipuka.cli.{name}").register)


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("kipuka.cli.check.run", interrupt)
    assert cli.main(["check", "FILE"]) == 130


def test_python_m_kipuka() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kipuka", "check", "/nonexistent"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cannot read /nonexistent: No such file or directory\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])  # found out at the end, or in the middle
def test_nobody_reads_the_output(tmp_path: Path, unbuffered: str) -> None:
    """As with ``| head -0``."""
    (tmp_path / "FILE").write_text("".join(f"{line}\n" for line in records.chain(3)))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "kipuka", "audit", "verify", "FILE"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "redirected", "err"),
    [
        ("user list users", ">/dev/full", "kipuka: cannot write the output: No space left on device\n"),
        ("user list none", "2>/dev/full", ""),
        ("user list users", ">/dev/full 2>/dev/full", ""),
    ],
)
def test_the_output_cannot_be_written(tmp_path: Path, words: str, redirected: str, err: str, unbuffered: str) -> None:
    (tmp_path / "users").write_text(f"alice:{hash_password('x')}\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m kipuka {words} {redirected}'],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", err)


def test_what_the_encoding_of_the_output_does_not_have_is_escaped(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"Ж:{hash_password('x')}\né:{hash_password('x')}\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "kipuka", "user", "list", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\u0416\n\xe9\n", b"")


def test_an_error_of_a_file_is_not_taken_for_one_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(_: object) -> int:
        raise FileNotFoundError(2, "No such file or directory", "forgotten")

    monkeypatch.setattr("kipuka.cli.check.run", forgetful)
    with pytest.raises(FileNotFoundError, match="forgotten"):
        cli.main(["check", "FILE"])


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_has_closed(tmp_path: Path, closed: str) -> None:
    """What would be shown there is lost; the exit code is not."""
    ca = pki.root()
    ca.write(tmp_path, "ca")
    ca.server().write(tmp_path, "tls")
    (tmp_path / "users").touch()
    (tmp_path / "good").write_text(MINIMAL.replace("/keys/tls.pem", "tls-key.pem"))
    for name, code, out, err in (
        ("good", 0, "good: good\n", ""),
        ("none", 1, "", f"cannot read {tmp_path}/none: No such file or directory\n"),
    ):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"{sys.executable}" -m kipuka check {name} {closed}'],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert done.stdout == ("" if ">&-" in closed.split() else out)
        assert done.stderr == ("" if "2>&-" in closed.split() else err)


def test_checking_does_not_wait_for_twisted() -> None:
    program = "import sys, kipuka.cli; kipuka.cli.main(['check', '/nonexistent']); sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
