"""The commands of docs/clients.md work as they stand there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import programs, servers
from tests.interop.journey import (
    ORGANIZATION,
    Device,
    Server,
    certificates_of,
    check_ca_certificates,
    check_issued,
    check_renewed,
)
from tests.interop.suite import CLIENTS, require
from tests.support.pki import Files

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
DEVICE = Device("sensor-5.example.com", "ec")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.running(servers.local_ca(tmp_path_factory.mktemp("manual"))) as running:
        yield running


def script(section: str) -> str:
    """Return the shell blocks of a section, one after the other."""
    _, _, rest = MANUAL.read_text().partition(f"\n## {section}\n")
    text, _, _ = rest.partition("\n## ")
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


@pytest.mark.parametrize(("section", "client"), [("curl and openssl", "curl"), ("strongSwan", "strongswan")])
def test_the_manual_of_a_client(section: str, client: str, server: Server, tmp_path: Path) -> None:
    require(CLIENTS[client])
    login = f"{server.password.user}:{server.password.secret}"
    names = {"SERVER": server.authority, "TRUST": str(server.trust), "LOGIN": login, "NAME": DEVICE.name}
    names |= {"SUBJECT": f"/O={ORGANIZATION}/CN={DEVICE.name}", "DN": f"O={ORGANIZATION}, CN={DEVICE.name}"}
    programs.run(
        "bash", "-euo", "pipefail", "-c", script(section), folder=tmp_path, environment={**os.environ, **names}
    )
    chain = [each for file in tmp_path.glob("cacert*.pem") for each in certificates_of(file)]
    check_ca_certificates(chain)
    old, new = (
        check_issued(Files(tmp_path / f"{stem}.pem", tmp_path / f"{stem}-key.pem"), DEVICE, chain)
        for stem in ("device", "renewed")
    )
    check_renewed(old, new)
