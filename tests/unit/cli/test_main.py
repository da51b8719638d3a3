"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from kipuka import __version__, cli


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


def test_checking_does_not_wait_for_twisted() -> None:
    program = "import sys, kipuka.cli; kipuka.cli.main(['check', '/nonexistent']); sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
