"""A directory where everything is as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.access.credentials.users import hash_password
from tests.support import pki
from tests.unit.config.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    ca = pki.root("CN=Root")
    site = Site(tmp_path, ca, ca.intermediate("CN=Sub"), pki.root("CN=Other"))
    site.ca.write(tmp_path, "ca")
    site.other.write(tmp_path, "other")
    site.certificate("sub.pem", site.sub.certificate)
    site.file("sub-key.pem").write_bytes(pki.key_pem(site.sub.key))
    site.sub.server().write(tmp_path, "server")
    ca.client("CN=agent").write(tmp_path, "agent")
    site.crls(ca.crl(), site.other.crl())
    site.file("users").write_text(f"alice:{hash_password('x')}\n")
    return site
