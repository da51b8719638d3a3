"""What stands behind the words: tokens, and the CAs whose certificates make administrators."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import pki
from tests.unit.config.site import CONFIG, Site

ADMIN = CONFIG + '[admin]\ntokens = "tokens"\ntrust_anchors = "admin-ca.pem"\n'
OWN_PORT = ADMIN + 'listen = "127.0.0.1:9443"\n'


@pytest.fixture
def administrators(site: Site) -> pki.Issuer:
    issuer = pki.root("CN=Administrators")
    site.file("admin-ca.pem").write_bytes(pki.pem(issuer.certificate))
    site.file("tokens").write_text(f"a read 2026-11-23T12:00:00Z sha256:{'0' * 64}\n")
    return issuer


def test_the_admin_api_on_a_port_of_its_own(site: Site, administrators: pki.Issuer) -> None:
    assert site.faults(OWN_PORT) == []
    site.file("tokens").write_text("a read\nb read 2026-11-23T12:00:00Z sha256:1\n")
    one, two = site.faults(OWN_PORT)
    assert one.startswith("admin.tokens: ") and "line 1" in one
    assert "line 2" in two
    site.file("tokens").unlink()
    (gone,) = site.faults(OWN_PORT)
    assert "No such file" in gone


def test_on_the_est_port_its_trust_anchors_must_be_clients_too(site: Site, administrators: pki.Issuer) -> None:
    (fault,) = site.faults(ADMIN)
    assert fault.startswith("admin.trust_anchors: CN=Administrators is not among tls.client_auth.trust_anchors")
    assert "admin.listen" in fault
    same = ADMIN + 'listen = ["systemd:est", "localhost:8443", "127.0.0.1:8444"]\n'
    assert site.faults(same) == [fault]
    with_ours = CONFIG + '[admin]\ntrust_anchors = "other.pem"\n'
    assert site.faults(with_ours) == []
    (fault,) = site.faults(with_ours.replace('crl = "crl.pem"', 'mode = "none"'))
    assert fault.startswith('admin.trust_anchors: with tls.client_auth.mode = "none" the EST port asks nobody')


OWN = 'whoever enrolls with the CA "{}" would be an administrator; name the subjects of the administrators'


@pytest.mark.parametrize(
    ("anchor", "makers"),
    [
        (lambda site: site.ca, ["local", "dogtag"]),  # the root of one, by its chain, and the other itself
        (lambda site: site.sub, ["local"]),
        (lambda site: pki.Issuer(pki.root("CN=Root", site.ca.key).certificate, site.ca.key), ["local", "dogtag"]),
        (lambda site: pki.root("CN=Else").intermediate("CN=Root", site.ca.key), ["local", "dogtag"]),  # cross-certified
        (lambda site: pki.root("CN=Else").intermediate("CN=Sub", site.sub.key), ["local"]),
        (lambda site: site.ca.intermediate("CN=For Administrators"), []),  # beside the CA of devices
        (lambda site: site.sub.intermediate("CN=For Administrators"), []),  # below it
    ],
)
def test_what_devices_get_must_not_make_administrators(
    site: Site, anchor: Callable[[Site], pki.Issuer], makers: list[str]
) -> None:
    site.certificate("admin-ca.pem", pki.root("CN=Other Administrators").certificate, anchor(site).certificate)
    text = (
        CONFIG.replace('crl = "crl.pem"', "") + '[admin]\ntrust_anchors = "admin-ca.pem"\nlisten = "127.0.0.1:9443"\n'
    )
    found = site.faults(text)
    assert len(found) == len(makers)
    for fault, ca_id in zip(found, makers, strict=True):
        assert fault.startswith(f"admin.trust_anchors: {OWN.format(ca_id)}")
    assert site.faults(text + "subjects = 'CN=[A-Z][a-z]+,OU=Operations'\n") == []


def test_what_devices_get_may_make_administrators_by_a_certificate_of_the_handshake(site: Site) -> None:
    """A CA of administrators is above that of devices by what it has given it, which kipuka finds in no CA's files."""
    elsewhere = pki.root("CN=Elsewhere")
    site.certificate("admin-ca.pem", elsewhere.certificate)
    text = CONFIG.replace('crl = "crl.pem"', "") + '[admin]\ntrust_anchors = "admin-ca.pem"\n'
    site.certificate("other.pem", elsewhere.certificate)
    assert site.faults(text) == []
    site.certificate("other.pem", elsewhere.certificate, elsewhere.intermediate("CN=Sub", site.sub.key).certificate)
    fault, _ = site.faults(text)
    assert fault.startswith(f"admin.trust_anchors: {OWN.format('local')}")


def test_a_ca_of_devices_below_that_of_administrators_must_be_named_to_make_them_too(site: Site) -> None:
    elsewhere = pki.root("CN=Elsewhere")
    maker = elsewhere.intermediate("CN=Maker")
    site.certificate("admin-ca.pem", elsewhere.certificate)
    site.certificate("other.pem", elsewhere.certificate, maker.certificate)
    text = CONFIG.replace('crl = "crl.pem"', "") + '[admin]\ntrust_anchors = "admin-ca.pem"\n'
    (fault,) = site.faults(text)
    assert fault.startswith("admin.trust_anchors: CN=Maker, in tls.client_auth.trust_anchors, is below these, so")
    assert site.faults(text + 'subjects = "CN=Ada"\n') == []
    assert site.faults(text + 'listen = "127.0.0.1:9443"\n') == []  # where it is not trusted
    site.certificate("admin-ca.pem", elsewhere.certificate, maker.certificate)
    assert site.faults(text) == []


def test_crls_of_administrators(site: Site, administrators: pki.Issuer) -> None:
    site.crls(site.ca.crl(), site.other.crl(), administrators.crl())
    assert site.faults(OWN_PORT) == []
    site.crls(administrators.crl())
    assert site.faults(OWN_PORT) == []
    (fault,) = site.faults(OWN_PORT.replace('"admin-ca.pem"', '["admin-ca.pem", "other.pem"]'))
    assert fault.startswith("tls.client_auth.crl: there is no CRL of CN=Other")


def test_what_makes_an_administrator_is_a_ca(site: Site, administrators: pki.Issuer) -> None:
    site.file("admin-ca.pem").write_bytes(pki.pem(administrators.client().certificate))
    (fault,) = site.faults(OWN_PORT)
    assert "is not the certificate of a CA" in fault
