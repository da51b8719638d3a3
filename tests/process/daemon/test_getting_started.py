"""docs/getting-started.md: the section on a local CA is followed to the letter, and docs/clients.md from there on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cryptography import x509

from tests.support import requirements
from tests.support.daemon import ROOT, Daemon, free_port

SECTION = (
    (ROOT / "docs/getting-started.md")
    .read_text("utf-8")
    .split("## A first configuration: a local CA")[1]
    .split("\n## ")[0]
)
CLIENTS = (ROOT / "docs/clients.md").read_text("utf-8").split("\n## strongSwan\n")[0]
"""The names that are used there, and the commands of curl and openssl."""


def blocks(language: str, text: str = SECTION) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_local_ca(tmp_path: Path) -> None:
    requirements.programs("bash", "curl", "openssl")
    port = str(free_port())

    def here(text: str) -> str:
        return text.replace("est.example.com", "localhost").replace("8443", port)

    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kipuka").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kipuka "$@"\n')
    (programs / "kipuka").chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": "*"}

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here(commands)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    authority, user, check, enroll, renew = blocks("sh")
    (configuration,) = blocks("toml")
    run(authority)
    run(user)
    assert (tmp_path / "sensor-1.password").stat().st_mode & 0o77 == 0
    (tmp_path / "kipuka.toml").write_text(here(configuration))
    assert run(check) == "kipuka.toml: good\n"
    with Daemon(tmp_path / "kipuka.toml") as daemon:
        run(enroll)
        run(renew)
        (tmp_path / "tls-ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
        password = (tmp_path / "sensor-1.password").read_text().strip()
        run("\n".join(blocks("sh", CLIENTS)).replace("LOGIN=sensor-1:secret", f"LOGIN=sensor-1:{password}"))
    assert "Traceback" not in daemon.log_text()
    ca = certificate(tmp_path / "ca.pem")
    issued = [certificate(tmp_path / f"{name}.pem") for name in ("sensor-1", "renewed", "device")]
    for each in issued:
        each.verify_directly_issued_by(ca)
        assert each.subject.rfc4514_string() == "CN=sensor-1"
    assert len({each.public_key().public_numbers() for each in issued}) == 3
