"""``[[ca]]``: the three types of CA and the keys of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from kipuka.config.model.fields import (
    BaseUrl,
    Duration,
    FilePath,
    Identifier,
    ProfileName,
    SecretReference,
    Section,
    Text,
    found,
)


class CommonCa(Section):
    """What every CA has."""

    id: Identifier
    name: Text | None = None

    @property
    def display_name(self) -> str:
        """The name for people: ``name``, or the id."""
        return self.name or self.id


class FileCa(CommonCa):
    """A CA whose key is a file: the embedded default."""

    type: Literal["file"] = "file"
    cert: FilePath
    key: FilePath
    key_passphrase: SecretReference | None = None
    chain: FilePath | None = None
    validity_days: Annotated[int, Field(ge=1, le=36500)] = 365


class HsmCa(CommonCa):
    """A CA whose key lives behind PKCS#11."""

    type: Literal["hsm"]
    cert: FilePath
    module: FilePath
    token_label: Text
    key_label: Text
    pin: SecretReference


OPERATIONS: Mapping[str, str | None] = {
    "chain": None,
    "template": "{profile}",
    "enroll": None,
    "request": "{id}",
    "requests": None,
    "review": "{id}",
    "certificate": "{id}",
    "search": None,
    "certificate-review": "{id}",
    "revoke": "{id}",
    "unrevoke": "{id}",
    "probe": None,  # may hold {id}
}
"""What ``paths`` may name, and what such a path has to hold. The same as kipuka.authority.dogtag.rest.paths, which
brings Twisted along and so is not imported here; a test keeps the two together."""


def _paths(value: Mapping[str, str]) -> Mapping[str, str]:
    for operation, path in value.items():
        if operation not in OPERATIONS:
            raise ValueError(f"there is no operation {found(operation)}; known are {', '.join(OPERATIONS)}")
        if not re.fullmatch(r"/[\x21-\x7e]*", path):
            raise ValueError(f'{operation}: expected a path that starts with "/", found {found(path)}')
        placeholder = OPERATIONS[operation]
        if placeholder and placeholder not in path:
            raise ValueError(f"{operation}: the path must hold {placeholder}, found {found(path)}")
    return value


class DogtagCa(CommonCa):
    """A CA that is a Dogtag PKI server."""

    type: Literal["dogtag"]
    url: BaseUrl
    agent_cert: FilePath
    agent_key: FilePath
    agent_key_passphrase: SecretReference | None = None
    ca_cert: FilePath
    profile: ProfileName
    timeout: Duration = 30
    max_connections: Annotated[int, Field(ge=1, le=1000)] = 8
    cache_certificates: bool = True
    cache_ttl: Duration = 3600
    api: Literal["auto", "v1", "v2"] = "auto"
    paths: Annotated[Mapping[str, str], AfterValidator(_paths)] = {}
    authority: Text | None = None
    poll_interval: Duration = 5
    approval_timeout: Duration = 300
    kra_url: BaseUrl | None = None
    kra_agent_cert: FilePath | None = None
    kra_agent_key: FilePath | None = None
    kra_agent_key_passphrase: SecretReference | None = None
    serverkeygen: Literal["kra", "ca-profile"] = "kra"
    serverkeygen_profile: ProfileName | None = None
    tps_url: BaseUrl | None = None
    cmc: Literal["resign", "verbatim", "est-auth"] = "resign"
    cmc_profile: ProfileName | None = None


def type_of(ca: object) -> object:
    """Tell the type of a ``[[ca]]`` table, which is "file" when it does not say."""
    return ca.get("type", "file") if isinstance(ca, dict) else getattr(ca, "type", None)


TYPES: Mapping[str, type[CommonCa]] = {"dogtag": DogtagCa, "file": FileCa, "hsm": HsmCa}

Ca = Annotated[
    Annotated[DogtagCa, Tag("dogtag")] | Annotated[FileCa, Tag("file")] | Annotated[HsmCa, Tag("hsm")],
    Discriminator(type_of),
]
