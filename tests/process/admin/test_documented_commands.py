"""The commands of docs/admin-api.md and docs/revocation.md work as they stand there, at either port."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from tests.process.admin.test_admin import AdminSite
from tests.process.conftest import check_log
from tests.support import requirements
from tests.support.daemon import ROOT, Daemon

AS_THE_DAEMONS_USER = "runuser -u kipuka -- "


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("apart", [False, True], ids=["EST port", "own port"])
def test_the_commands(tmp_path: Path, *, apart: bool) -> None:
    requirements.programs("bash", "curl", "openssl")
    own = AdminSite(tmp_path)
    listen = {"listen": f"127.0.0.1:{own.admin_port}"} if apart else {}
    own.write(
        client_auth={"trust_anchors": ["ca.pem", "admin-ca.pem"]},
        admin={"tokens": "tokens", "trust_anchors": "admin-ca.pem", **listen},
    )
    own.administrators.client("CN=Ada").write(tmp_path, "admin")
    (tmp_path / "tls-ca.pem").write_bytes((tmp_path / "tls-root.pem").read_bytes())
    (tmp_path / "kipuka").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kipuka "$@"\n')
    (tmp_path / "kipuka").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])

    def run(text: str, serial: str = "") -> str:
        """What the command prints; "ADMIN=" and the address of EST are this server's."""
        text = re.sub(
            r"^ADMIN=\S+", f"ADMIN=https://localhost:{own.admin_port if apart else own.port}", text, flags=re.MULTILINE
        )
        for printed, actual in {
            AS_THE_DAEMONS_USER: "",
            "/var/lib/kipuka/tokens": str(tmp_path / "tokens"),
            "https://est.example.com:8443": f"https://localhost:{own.port}",
            "/crl/local-ca": "/crl/main",
            "0x1A2B": serial,
        }.items():
            text = text.replace(printed, actual)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    token, listed, shown = blocks("admin-api.md")
    revoke, crl = blocks("revocation.md")
    run(token)
    assert (tmp_path / "ops.token").stat().st_mode & 0o77 == 0
    with Daemon(own.config) as daemon:
        own.enroll()
        assert json.loads(run(listed)) == {"items": [], "next": None}
        assert json.loads(run(f"{listed}\n{shown}").splitlines()[-1])["items"][0]["id"] == "main"
        (issued,) = json.loads(run(listed.replace("enrollments?state=pending", "certs")))["items"]
        serial = issued["serial"]
        assert json.loads(run(revoke, serial))["outcome"] == "revoked"
        run(crl)
        published = x509.load_der_x509_crl((tmp_path / "main").read_bytes())
        assert published.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None
    check_log(daemon)
