"""The whole configuration as one frozen value: ``Config`` and its small sections.

Durations are seconds, sizes bytes, paths absolute. ``docs/configuration.md`` says what each key means to an operator;
the keys that nothing stands behind yet are listed in ``not_built.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kipuka.config.model.ca import Ca, DogtagCa, FileCa, HsmCa
from kipuka.config.model.est import DEFAULT_AUTH, Auth, Cmc, Est, Label
from kipuka.config.model.fields import (
    AsTuple,
    AtLeastAnHour,
    DatabaseUrl,
    Distinct,
    Duration,
    FilePath,
    Identifier,
    Listen,
    OneOrMany,
    SecretReference,
    Section,
    Size,
    SubjectPattern,
    Syslog,
)
from kipuka.config.model.listen import ListenAddress, SystemdSocket, TcpAddress

__all__ = [
    "DEFAULT_AUTH",
    "Admin",
    "Audit",
    "Auth",
    "Ca",
    "ClientAuth",
    "Cmc",
    "Config",
    "Db",
    "DogtagCa",
    "Est",
    "FileCa",
    "Ha",
    "HaGroup",
    "HsmCa",
    "Label",
    "ListenAddress",
    "Server",
    "SystemdSocket",
    "TcpAddress",
    "Tls",
]

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Addresses = Annotated[tuple[Listen, ...], OneOrMany, Field(min_length=1), Distinct]
Files = Annotated[tuple[FilePath, ...], OneOrMany, Distinct]


class Server(Section):
    """``[server]``: the EST endpoint and its limits."""

    listen: Addresses = (TcpAddress("0.0.0.0", 8443),)  # noqa: S104 - a server for the network, as documented
    workers: Count = 1
    max_body_size: Size = 64 * 1024
    max_connections: Count = 4096
    max_connections_per_address: Count = 256
    header_timeout: Duration = 10
    body_timeout: Duration = 30
    idle_timeout: Duration = 60
    shutdown_timeout: Duration = 30


class ClientAuth(Section):
    """``[tls.client_auth]``: the certificates clients may show."""

    trust_anchors: Files = ()
    mode: Literal["optional", "required", "none"] = "optional"
    crl: Files = ()


class Tls(Section):
    """``[tls]``: the server's own certificate."""

    cert: FilePath
    key: FilePath
    key_passphrase: SecretReference | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_auth: ClientAuth = ClientAuth()


class Db(Section):
    """``[db]``: the store."""

    url: Annotated[DatabaseUrl, Field(repr=False, validate_default=True)] = "sqlite:///kipuka.db"
    keep: AtLeastAnHour = 90 * 86400


class HaGroup(Section):
    """``[[ha.group]]``: CAs that stand in for each other."""

    name: Identifier
    ca_ids: Annotated[tuple[Identifier, ...], AsTuple, Field(min_length=1), Distinct]
    load_balancing: Literal["round-robin", "least-connections"] = "round-robin"
    health_check_interval: Duration = 30
    failure_threshold: Count = 3
    success_threshold: Count = 2
    timeout: Duration = 10


class Ha(Section):
    """``[ha]``: pools of CAs."""

    enabled: bool = False
    strategy: Literal["active-passive", "active-active"] = "active-passive"
    group: Annotated[tuple[HaGroup, ...], AsTuple] = ()


class Admin(Section):
    """``[admin]``: the API for operators; without tokens and trust anchors it is off."""

    listen: Addresses | None = None
    tokens: FilePath | None = None
    trust_anchors: Files = ()
    subjects: Annotated[tuple[SubjectPattern, ...], OneOrMany, Field(min_length=1), Distinct] | None = None
    health: Literal["open", "loopback", "token"] = "open"

    @property
    def is_on(self) -> bool:
        """Whether anybody could be an administrator."""
        return self.tokens is not None or bool(self.trust_anchors)


class Audit(Section):
    """``[audit]``: where audit records go besides the store."""

    file: FilePath | None = None
    syslog: Syslog | None = None


_LEFT_OUT: Any = {}
"""For a section whose defaults depend on the directory of the file: validated like one that is written."""


class Config(Section):
    """Everything a configuration file says, defaults filled in."""

    server: Server = Server()
    tls: Tls
    db: Annotated[Db, Field(validate_default=True)] = _LEFT_OUT
    ca: Annotated[tuple[Ca, ...], AsTuple, Field(min_length=1)]
    est: Est = Est()
    ha: Ha = Ha()
    admin: Admin = Admin()
    audit: Audit = Audit()

    @property
    def admin_shares_port(self) -> bool:
        """Whether the API for operators is on the EST port."""
        return self.admin.listen is None or set(self.admin.listen) == set(self.server.listen)

    @property
    def default_ca(self) -> str:
        """The CA or group behind paths without a label: ``est.default_ca``, else the first group, else the first CA."""
        if self.est.default_ca is not None:
            return self.est.default_ca
        if self.ha.enabled and self.ha.group:
            return self.ha.group[0].name
        return self.ca[0].id
