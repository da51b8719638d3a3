"""The journeys as tests: each client program against one server. A test module says which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509

from tests.interop.bouncycastle import BouncyCastle
from tests.interop.curl import Curl
from tests.interop.journey import (
    Client,
    Device,
    KeyType,
    Password,
    Server,
    check_ca_certificates,
    check_issued,
    check_renewed,
)
from tests.interop.servers import LABEL
from tests.interop.strongswan import StrongSwan
from tests.support import requirements
from tests.support.pki import Files

ClientType = type[Curl | StrongSwan | BouncyCastle]

CLIENTS: dict[str, ClientType] = {"curl": Curl, "strongswan": StrongSwan, "bouncycastle": BouncyCastle}

each_client = pytest.mark.parametrize("client_type", CLIENTS.values(), ids=CLIENTS.keys())
each_client_with_foreign_certificate = pytest.mark.parametrize(
    "client_type",
    [each for each in CLIENTS.values() if each.enrolls_with_certificate],
    ids=[name for name, each in CLIENTS.items() if each.enrolls_with_certificate],
)
each_key_type = pytest.mark.parametrize("key_type", ["ec", "rsa"])


def require(client_type: ClientType) -> None:
    """Skip where a client program is missing."""
    if packages := client_type.missing():
        requirements.lacking(f"not installed: {' '.join(packages)} (tests/interop/install, as root, installs them)")


class Journeys:
    """What every client does with an unconfigured server. The module of a subclass has the fixture ``server``."""

    @each_client
    def test_cac_03_t2_cacerts_without_credentials(
        self, client_type: ClientType, server: Server, tmp_path: Path
    ) -> None:
        require(client_type)
        check_ca_certificates(client_type(server, tmp_path).ca_certificates())

    @each_key_type
    @each_client
    def test_enr_02_t1_t9_enroll_with_a_password(
        self, client_type: ClientType, key_type: KeyType, server: Server, tmp_path: Path
    ) -> None:
        require(client_type)
        client = client_type(server, tmp_path)
        enroll(client, Device("sensor-1.example.com", key_type), server.password)

    @each_key_type
    @each_client_with_foreign_certificate
    def test_auth_05_enroll_with_the_makers_certificate(
        self, client_type: ClientType, key_type: KeyType, server: Server, tmp_path: Path
    ) -> None:
        require(client_type)
        client = client_type(server, tmp_path)
        enroll(client, Device("sensor-2.example.com", key_type), server.birth)

    @each_key_type
    @each_client
    def test_ren_01_ren_04_renew_with_the_certificate_just_got(
        self, client_type: ClientType, key_type: KeyType, server: Server, tmp_path: Path
    ) -> None:
        require(client_type)
        client = client_type(server, tmp_path)
        enroll_and_renew(client, Device("sensor-3.example.com", key_type), server.password)

    @each_client
    def test_uri_04_t13_all_of_it_under_a_label(self, client_type: ClientType, server: Server, tmp_path: Path) -> None:
        require(client_type)
        client = client_type(server.at(LABEL), tmp_path)
        enroll_and_renew(client, Device("sensor-4.example.com", "ec"), server.password)


@dataclasses.dataclass(frozen=True)
class Issued:
    """What an enrollment left behind."""

    files: Files
    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]


def enroll(client: Client, device: Device, credential: Password | Files) -> Issued:
    """Fetch the CA certificates, enroll, and check what came."""
    chain = client.ca_certificates()
    files = client.enroll(device, credential)
    return Issued(files, check_issued(files, device, chain), chain)


def enroll_and_renew(client: Client, device: Device, credential: Password | Files) -> None:
    """Enroll, renew with what came, and check both."""
    old = enroll(client, device, credential)
    renewed = check_issued(client.renew(device, old.files), device, old.chain)
    check_renewed(old.certificate, renewed)
