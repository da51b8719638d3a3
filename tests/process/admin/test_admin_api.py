"""The admin API held against its own description by schemathesis, which has an environment of its own (Makefile)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.process.admin.test_admin import AdminSite
from tests.process.conftest import check_log
from tests.support import requirements
from tests.support.daemon import ROOT, Daemon

EXAMPLES = 20
"""Test cases for an operation and phase; the seed is fixed, so that a run can be repeated."""


def program() -> str:
    """Where schemathesis is; without it the test is skipped."""
    found = shutil.which("st", path=str(ROOT / ".venv-api" / "bin")) or shutil.which("st")
    if found is None:
        requirements.lacking("schemathesis is not installed: make test installs it")
    return found


def test_the_api_keeps_to_its_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schemathesis = program()
    own = AdminSite(tmp_path)
    token = own.token(capsys, "read", "revoke")
    own.write(admin={"tokens": "tokens"})
    command = [schemathesis, "run", f"https://localhost:{own.port}/admin/openapi.json", "--no-color", "--seed", "1"]
    command += ["--tls-verify", str(own.folder / "tls-root.pem"), "--header", f"Authorization: Bearer {token}"]
    command += ["--max-examples", str(EXAMPLES), "--checks", "all", "--generation-database", "none"]
    with Daemon(own.config) as daemon:
        for number in range(3):
            own.enroll(f"CN=device-{number}")
        done = subprocess.run(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout
        assert "generated" in done.stdout, done.stdout
    check_log(daemon)
