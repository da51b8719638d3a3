"""Running client programs: with a time limit, and with everything they said in the failure."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

LIMIT_SECONDS = 40


class ProgramError(AssertionError):
    """A program ended with an error; the text has the command and its output."""


def run(
    *command: str | Path, stdin: bytes = b"", folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> bytes:
    """Return what the program wrote to its standard output.

    :param environment: instead of the test's own.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, cwd=folder, env=environment, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired as late:
        raise ProgramError(f"{' '.join(words)}: no end after {LIMIT_SECONDS} s\n{_text(late.stderr)}") from None
    if done.returncode != 0:
        output = f"{_text(done.stdout)}\n{_text(done.stderr)}".strip()
        raise ProgramError(f"{' '.join(words)}: ended with {done.returncode}\n{output}")
    return done.stdout


def missing(programs: Mapping[str, str], files: Mapping[Path, str] | None = None) -> tuple[str, ...]:
    """Return the Debian packages of those programs and files that are not installed."""
    wanted: Iterable[str] = [package for program, package in programs.items() if shutil.which(program) is None]
    wanted = [*wanted, *(package for file, package in (files or {}).items() if not file.exists())]
    return tuple(dict.fromkeys(wanted))


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
