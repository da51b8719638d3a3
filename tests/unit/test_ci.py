"""The scripts of CI run on a machine where nothing was installed by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NONE = "exit 1"
SETTING = "echo \"global.index-url='https://mirror.example/simple'\""


def python(path: Path, pip: str) -> None:
    """A Python whose pip does this when it is asked for the settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$*" != "-m pip config list" ] || {{ {pip}; exit; }}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)


def test_ci_installs_what_a_developer_is_told_to_install() -> None:
    (told,) = re.findall(r"^    apt-get install (.*)$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    (installed,) = re.findall(r"^  scripts/packages (.*)$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert set(told.split()) <= set(installed.split())


@pytest.mark.parametrize(
    ("tree", "machine", "settings"),
    [
        (None, NONE, "[global]\n"),
        (None, SETTING, "[global]\nindex-url = https://mirror.example/simple\n"),
        (SETTING, NONE, "[global]\nindex-url = https://mirror.example/simple\n"),
    ],
    ids=["no pip", "the machine's pip", "only the tree's pip"],
)
def test_pip_settings_for_the_bare_debian(tmp_path: Path, tree: str | None, machine: str, settings: str) -> None:
    bare = (ROOT / "tests/package/bare").read_text("utf-8")
    (function,) = re.findall(r"^pip_settings\(\) \{\n.*?^\}\n", bare, re.MULTILINE | re.DOTALL)
    python(tmp_path / "bin/python3", machine)
    if tree is not None:
        python(tmp_path / ".venv/bin/python", tree)
    script = f'set -euo pipefail; TREE=$PWD PATH=$PWD/bin:$PATH\n{function}pip_settings\necho "went on"\n'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == (f"{settings}went on\n", "")
