"""Configurations for the interop tests: nothing in them but what every site must say, so clients meet the defaults."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kipuka.access.credentials.users import hash_password
from tests.interop.journey import Password, Server
from tests.support import pki
from tests.support.daemon import Daemon, free_port

PASSWORD = Password("installer", "correct horse: battery")
LABEL = "lab"


@dataclasses.dataclass(frozen=True)
class Site:
    """A configuration file for the daemon, and what a device is told about it."""

    config: Path
    server: Server


@contextmanager
def running(site: Site) -> Iterator[Server]:
    """Run the daemon; whatever clients did to it, it ended in order and nothing in it failed unexpectedly."""
    with Daemon(site.config) as daemon:
        yield site.server
    assert "Traceback" not in daemon.log_text(), daemon.log_tail()


def local_ca(folder: Path) -> Site:
    """A CA below a root, its key in a file. Two certificates make /cacerts longer than libest reads in one line."""
    root = pki.root("CN=Interop Root CA,O=Example")
    issuing = root.intermediate("CN=Interop Issuing CA,O=Example")
    (folder / "root.pem").write_bytes(pki.pem(root.certificate))
    files = issuing.write(folder, "ca")
    table = f"""
        [[ca]]
        id = "main"
        cert = {_toml(files.certificate)}
        key = {_toml(files.key)}
        chain = "root.pem"
    """
    return _site(folder, table, [files.certificate, folder / "root.pem"])


def dogtag(folder: Path, url: str, agent: pki.Files, ca_chain: Path, profile: str) -> Site:
    """A Dogtag whose certificate also anchors the client certificates it issues."""
    table = f"""
        [[ca]]
        id = "main"
        type = "dogtag"
        url = {_toml(url)}
        agent_cert = {_toml(agent.certificate)}
        agent_key = {_toml(agent.key)}
        ca_cert = {_toml(ca_chain)}
        profile = {_toml(profile)}
    """
    return _site(folder, table, [ca_chain])


def _site(folder: Path, ca_table: str, ca_chain: list[Path]) -> Site:
    tls_root = pki.root("CN=Interop TLS Root")
    tls = tls_root.server().write(folder, "tls")
    (folder / "tls-root.pem").write_bytes(pki.pem(tls_root.certificate))
    maker = pki.root("CN=Device Maker CA")
    (folder / "maker.pem").write_bytes(pki.pem(maker.certificate))
    birth = maker.client("CN=serial 4711,O=Device Maker").write(folder, "birth")
    (folder / "users").write_text(f"{PASSWORD.user}:{hash_password(PASSWORD.secret)}\n")
    port = free_port()
    anchors = [*ca_chain, folder / "maker.pem"]
    config = folder / "kipuka.toml"
    config.write_text(f"""
        [server]
        listen = "127.0.0.1:{port}"

        [tls]
        cert = {_toml(tls.certificate)}
        key = {_toml(tls.key)}

        [tls.client_auth]
        trust_anchors = {_toml(anchors)}

        {ca_table}

        [est]
        users = "users"

        [[est.label]]
        name = "{LABEL}"
        ca_id = "main"
    """)
    return Site(config, Server("localhost", port, folder / "tls-root.pem", PASSWORD, birth))


def _toml(value: str | Path | list[Path]) -> str:
    """TOML's basic strings are JSON's, and so are its lists of them."""
    return json.dumps(value, default=str)
