"""Whose certificates count where fewer CAs are named than the handshake trusts: a label's, and administrators'."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.web.http.json_answers import MEDIA_TYPE
from tests.process.conftest import check_log
from tests.process.sites import Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.fakes import body
from tests.web.wire import EST

LABEL = '\n[[est.label]]\nname = "ours"\nca_id = "main"\nauth = ["certificate"]\ntrust_anchors = "{}"\n'
CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))


def statuses(site: Site, identity: pki.Identity) -> tuple[int, int]:
    """What the label says, and what the admin API says."""
    with site.client(identity).connect() as connection:
        enrolled = connection.post(f"{EST}/ours/simpleenroll", CSR).status
        connection.errors = MEDIA_TYPE
        return enrolled, connection.get("/admin/ca").status


@pytest.mark.parametrize(
    ("named", "trusted"),
    [
        ("root.pem", ["root.pem"]),
        ("root.pem", ["ca.pem", "root.pem"]),  # the path ends at the CA below it
        ("root.pem", ["cross.pem", "ca.pem", "root.pem"]),
        ("ca.pem", ["cross.pem", "ca.pem", "root.pem"]),
        ("cross.pem", ["ca.pem", "cross.pem", "root.pem"]),  # the same CA
    ],
)
def test_tls_06_what_is_below_a_ca_counts_wherever_the_path_ends(
    tmp_path: Path, named: str, trusted: list[str]
) -> None:
    site = Site(tmp_path, below_a_root=True)
    cross = pki.root("CN=Elsewhere").intermediate("CN=Process CA", site.ca.key)
    (tmp_path / "cross.pem").write_bytes(pki.pem(cross.certificate))
    (tmp_path / "ca.pem").write_bytes(pki.pem(site.ca.certificate))
    admin = {"trust_anchors": named, "subjects": "CN=Ada"}
    site.write(client_auth={"trust_anchors": [*trusted, "maker.pem"]}, admin=admin)
    site.config.write_text(site.config.read_text() + LABEL.format(named))
    with Daemon(site.config) as daemon:
        assert statuses(site, site.ca.client("CN=Ada")) == (200, 200)
        assert statuses(site, site.ca.client("CN=device-1")) == (200, 401)
        assert statuses(site, site.maker.client("CN=Ada")) == (403, 401)
        beside = site.root.client("CN=Ada")  # of the root itself
        assert statuses(site, beside) == ((200, 200) if named == "root.pem" else (403, 401))
    check_log(daemon)
