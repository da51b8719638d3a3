"""The server's certificate, trust anchors and CRLs."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.cli.doctor.checks import tls
from kipuka.cli.doctor.findings import Level, fault
from kipuka.config import load
from kipuka.config.certificates import name_of
from tests.support import pki

DAY = timedelta(days=1)
CONFIG = """
[tls]
cert = "server.pem"
key = "server-key.pem"
[tls.client_auth]
trust_anchors = "ca.pem"
crl = "crl.pem"
[[ca]]
id = "local"
cert = "ca.pem"
key = "ca-key.pem"
"""


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = pki.root()
        self.ca.write(folder, "ca")
        self.crl(self.ca.crl(next_update=pki.NOW + 7 * DAY))
        self.server()

    def server(self, issuer: pki.Issuer | None = None, days: int = 90, life: int = 365) -> None:
        end = pki.NOW + days * DAY
        (issuer or self.ca).server(not_before=end - life * DAY, not_after=end).write(self.folder, "server")

    def crl(self, crl: pki.x509.CertificateRevocationList) -> None:
        (self.folder / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))

    def found(self, text: str = CONFIG) -> dict[str, Level]:
        return {each.text: each.level for each in tls.findings(load.parse(text, self.folder), pki.NOW)}

    def warnings(self, text: str = CONFIG) -> list[str]:
        return [words for words, level in self.found(text).items() if level is not Level.OK]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_good(site: Site) -> None:
    assert not site.warnings()
    assert "the server's certificate is for localhost, 127.0.0.1, issued by CN=Test Root CA" in site.found()


@pytest.mark.parametrize(
    ("days", "life", "warned"), [(31, 365, False), (29, 365, True), (29, 90, False), (20, 90, True)]
)
def test_days_left(site: Site, days: int, life: int, warned: bool) -> None:
    site.server(days=days, life=life)
    assert bool(site.warnings()) is warned


def test_expired(site: Site) -> None:
    site.server(days=-1)
    assert site.warnings()[0].startswith("the server's certificate ended on")


def test_chain_that_stops_short(site: Site) -> None:
    below = pki.root("CN=Web Root").intermediate()
    site.server(below)
    assert not site.warnings()
    (site.folder / "server.pem").write_bytes(
        pki.pem(below.server(not_before=pki.NOW - 90 * DAY, not_after=pki.NOW + 90 * DAY).certificate)
    )
    assert site.warnings() == ["tls.cert holds the server's certificate alone, without a chain"]


def test_no_anchors(site: Site) -> None:
    text = CONFIG.replace('trust_anchors = "ca.pem"\ncrl = "crl.pem"', "") + '[est]\nusers = "users"\n'
    assert site.warnings(text) == ["no trust anchors for client certificates: devices cannot renew"]


def test_crl_that_is_about_to_end(site: Site) -> None:
    for age, left in [(2 * DAY, DAY / 2), (DAY / 8, DAY / 48)]:
        site.crl(site.ca.crl(last_update=pki.NOW - age, next_update=pki.NOW + left))
        (text,) = site.warnings()
        assert text.startswith("the CRL of CN=Test Root CA is to be renewed by")


def test_crl_that_never_lasts_longer(site: Site) -> None:
    site.crl(site.ca.crl(last_update=pki.NOW - DAY / 24, next_update=pki.NOW + DAY / 8))
    assert site.warnings() == []


def test_a_finding_is_one_line() -> None:
    forged = fault("ca x", "a\nok      ca x: all is well\x1b[2J", "do\u2028this")
    assert str(forged) == "fault   ca x: a ok      ca x: all is well [2J; do this"


def test_t26_what_devices_fetch_can_be_compared_with_what_openssl_shows(tmp_path: Path) -> None:
    root = pki.root("CN=Root")
    issuing = root.intermediate("CN=Issuing")
    shown = str(tls.fingerprints("ca lab", (issuing.certificate, root.certificate)))
    for each in (issuing, root):
        file = each.write(tmp_path, "one").certificate
        command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", file]
        _, _, seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")
        assert f"{name_of(each.certificate.subject)} {seen}" in shown
