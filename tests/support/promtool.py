"""Prometheus's own checker, from Debian's package ``prometheus``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LIMIT_SECONDS = 60


def run(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Run ``promtool`` and return what it said; an error of it fails the test, and so do its warnings for metrics.

    Without the program the test is skipped with the reason; in CI that is a failure.
    """
    program = shutil.which("promtool")
    if program is None:
        reason = "promtool is not installed: run tests/support/install-promtool as root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=LIMIT_SECONDS)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, f"{' '.join(command)}: {said}"
    return said
