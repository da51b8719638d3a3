"""Where the lab is and with what to talk to it, as ``tests/dogtag/lab/lab up`` exported it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path


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


def folder() -> Path:
    """Return where the lab's exports are, or would be."""
    root = os.environ.get("DOGTAG_LAB_ROOT", "/srv/dogtag")
    return Path(os.environ.get("DOGTAG_LAB_EXPORT") or f"{root}/export")


def read() -> Lab:
    """Return the lab of this machine.

    :raises LookupError: none was brought up.
    """
    try:
        return _read(folder())
    except (OSError, KeyError) as missing:
        raise LookupError(f"no Dogtag lab in {folder()}") from missing


def _read(export: Path) -> Lab:
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
