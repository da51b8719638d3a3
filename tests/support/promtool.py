"""Prometheus's own checker, from Debian's package ``prometheus``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import requirements

LIMIT_SECONDS = 60


def run(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Run ``promtool`` and return what it said; an error of it fails the test, and so do its warnings for metrics."""
    requirements.programs("promtool", install="tests/support/install-promtool")
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=LIMIT_SECONDS)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, f"{' '.join(command)}: {said}"
    return said
