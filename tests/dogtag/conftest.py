"""The real Dogtag these tests talk to: whatever ``tests/dogtag/lab/lab up`` left running and exported."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest


@dataclasses.dataclass(frozen=True)
class Account:
    """A certificate of the lab's CA and its unencrypted key, PEM files."""

    certificate: Path
    key: Path


@dataclasses.dataclass(frozen=True)
class Lab:
    """Where the lab's Dogtag is and with what to talk to it."""

    url: str
    """Base URL of the CA's and the KRA's Tomcat, without a path."""
    clone_url: str | None
    """The same of the CA's clone, when the lab was brought up with one."""
    host: str
    ca_chain: Path
    """The CA certificate, which also signed the servers' TLS certificates."""
    agent: Account
    """Agent of the CA and of the KRA."""
    ra: Account
    """Known to the CA, in the group of registration managers only."""
    user: Account
    """Known to CA and KRA, in no group: 403 on an agent's paths."""
    stranger: Account
    """A certificate of this CA that belongs to no user: 401."""


def read_lab(export: Path) -> Lab:
    """Return what the folder of exports describes; OSError and KeyError mean that no lab was brought up there."""
    lines = (export / "env").read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)

    def account(name: str) -> Account:
        return Account(export / f"{name}.pem", export / f"{name}-key.pem")

    return Lab(
        url=env["DOGTAG_URL"],
        clone_url=env.get("DOGTAG_CLONE_URL"),
        host=env["DOGTAG_HOST"],
        ca_chain=export / "ca-chain.pem",
        agent=account("agent"),
        ra=account("ra"),
        user=account("user"),
        stranger=account("stranger"),
    )


def _export() -> Path:
    root = os.environ.get("DOGTAG_LAB_ROOT", "/srv/dogtag")
    return Path(os.environ.get("DOGTAG_LAB_EXPORT") or f"{root}/export")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The running lab. Its absence fails the run: these tests were asked for by name."""
    try:
        return read_lab(_export())
    except (OSError, KeyError):
        pytest.exit(
            f"No Dogtag lab in {_export()}. Run `make test-dogtag` (as root), which brings it up.", returncode=1
        )
