"""The configuration of the daemon under test, and all that its clients need to know of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from kipuka.access.credentials.users import hash_password
from tests.dogtag.lab_export import Lab
from tests.support import pki
from tests.support.daemon import free_port

AUTO = ("auto", "kipukaServer")
"""Label and profile that issue at once."""
MANUAL = ("manual", "kipukaServerManual")
"""Label and profile that wait for an agent."""
POLL_INTERVAL = 1
"""Seconds."""

_PASSWORD = "chaos: correct horse"
# A few only: their hashes are slow on purpose, and users with several requests at a time are part of the test.
_USERS = 5


@dataclasses.dataclass(frozen=True)
class Site:
    """Times are seconds."""

    folder: Path
    config: Path
    port: int
    """Where the daemon listens; clients come through the proxy."""
    trust: Path
    maker: pki.Issuer
    """Certifies the devices that authenticate by certificate."""
    users: tuple[str, ...]
    password: str = dataclasses.field(default=_PASSWORD, repr=False)


def make(
    folder: Path,
    lab: Lab,
    ca_port: int,
    *,
    ledger: bool = True,
    clone_port: int | None = None,
    strategy: str = "active-passive",
) -> Site:
    """Write a configuration whose CA is reached at ``ca_port`` of the lab's host.

    :param clone_port: where the CA's clone is reached: the two are a pool then.
    :param strategy: of the pool.
    :param ledger: whether the daemon under test has a ledger; if not, the keys that belong to it are left out.
    """
    tls_root = pki.root("CN=Chaos TLS Root")
    tls = tls_root.server().write(folder, "tls")
    (folder / "tls-root.pem").write_bytes(pki.pem(tls_root.certificate))
    maker = pki.root("CN=Chaos Device Maker")
    (folder / "maker.pem").write_bytes(pki.pem(maker.certificate))
    users = tuple(f"installer-{number}" for number in range(_USERS))
    (folder / "users").write_text("".join(f"{each}:{hash_password(_PASSWORD)}\n" for each in users))
    port = free_port()
    store = f"[db]\nurl = {_toml(f'sqlite:///{folder}/kipuka.db')}" if ledger else ""
    approval = f'poll_interval = {POLL_INTERVAL}\napproval_timeout = "3s"' if ledger else ""
    replay = 'replay_window = "10m"' if ledger else ""
    labels = "\n".join(
        f'[[est.label]]\nname = "{label}"\nca_id = "dogtag"\ndogtag_profile = "{profile}"\n'
        for label, profile in (AUTO, MANUAL)
    )
    # Labels name "dogtag": the CA, or the pool of the two.
    ports = {"dogtag": ca_port} if clone_port is None else {"primary": ca_port, "clone": clone_port}
    cas = "\n".join(_ca(name, port, lab, approval) for name, port in ports.items())
    pool = "" if clone_port is None else _pool(strategy, list(ports))
    config = folder / "kipuka.toml"
    config.write_text(f"""
[server]
listen = "127.0.0.1:{port}"

[tls]
cert = {_toml(tls.certificate)}
key = {_toml(tls.key)}

[tls.client_auth]
trust_anchors = {_toml([folder / "maker.pem", lab.ca_chain])}

{store}

{cas}
{pool}
[est]
users = "users"
retry_after = "1s"
{replay}

{labels}
""")
    return Site(folder, config, port, folder / "tls-root.pem", maker, users)


def _ca(name: str, port: int, lab: Lab, approval: str) -> str:
    return f"""[[ca]]
id = "{name}"
type = "dogtag"
url = "https://{lab.host}:{port}"
agent_cert = {_toml(lab.agent.certificate)}
agent_key = {_toml(lab.agent.key)}
ca_cert = {_toml(lab.ca_chain)}
profile = "{AUTO[1]}"
timeout = "10s"
{approval}
"""


def _pool(strategy: str, members: list[str]) -> str:
    return f"""[ha]
enabled = true
strategy = "{strategy}"

[[ha.group]]
name = "dogtag"
ca_ids = {_toml(members)}
health_check_interval = "2s"
timeout = "4s"
"""


def _toml(value: str | Path | Sequence[str | Path]) -> str:
    """TOML's basic strings are JSON's, and so are its lists of them."""
    return json.dumps(value, default=str)
