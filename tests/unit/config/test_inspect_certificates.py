"""What stands behind the words: keys and certificates, their chains, times, names and uses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from kipuka.config import material
from tests.support import pki
from tests.unit.config.site import CONFIG, DAY, FUTURE, PAST, Site


def test_one_key_under_two_names(site: Site) -> None:
    again = CONFIG.replace("[est]", '[[ca]]\nid = "again"\ncert = "again.pem"\nkey = "sub-key.pem"\n[est]')
    site.certificate("again.pem", site.sub.certificate, site.ca.certificate)
    assert site.faults(again) == []
    site.certificate("again.pem", pki.root("CN=Other name", site.sub.key).certificate)
    (fault,) = site.faults(again)
    assert fault == "ca[2].cert: CN=Other name has the key of CN=Sub, ca[0]; a key is one CA's"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sub", "ca[0].cert: the key of the certificate CN=Sub is of a kind that kipuka does not know; take a CA with"),
        ("ca", "ca[0].chain: the chain breaks: CN=Sub was not issued by CN=Root"),
        ("agent", "ca[1].agent_key: this is not the key of the certificate CN=agent"),
        ("server", "tls.key: this is not the key of the certificate CN=localhost"),
        ("other", "tls.client_auth.crl: the CRL of CN=Other does not carry that CA's signature"),
    ],
)
def test_a_key_of_a_kind_that_nobody_knows(site: Site, name: str, text: str) -> None:
    certificate, *above = material.certificates(site.file(f"{name}.pem"))
    site.certificate(f"{name}.pem", pki.with_unknown_key(certificate), *above)
    assert [fault for fault in site.faults() if fault.startswith(text)]


def test_the_key_of_a_file_ca_is_not_for_pss_only(site: Site) -> None:
    """What it signs with PKCS #1 v1.5 nobody would take."""
    issuer = pki.root("CN=RSA", pki.rsa_key())
    text = CONFIG.replace("[est]", '[[ca]]\nid = "rsa"\ncert = "rsa.pem"\nkey = "rsa-key.pem"\n[est]')
    issuer.write(site.folder, "rsa")
    assert site.faults(text) == []
    site.certificate("rsa.pem", pki.with_key_for_pss(issuer.certificate))
    said = "ca[2].cert: the key of the certificate CN=RSA is for RSASSA-PSS only, with which kipuka does not sign; take"
    assert [fault for fault in site.faults(text) if fault.startswith(said)]


@pytest.mark.parametrize(
    ("key", "setting"), [("server", "tls.key"), ("sub", "ca[0].key"), ("agent", "ca[1].agent_key")]
)
def test_key_of_another_certificate(site: Site, key: str, setting: str) -> None:
    site.file(f"{key}-key.pem").write_bytes(pki.key_pem(pki.ec_key()))
    (fault,) = site.faults()
    assert fault.startswith(f"{setting}: this is not the key of the certificate CN=")


def test_encrypted_key(site: Site) -> None:
    server = site.sub.server()
    server.write(site.folder, "server", passphrase="right")
    (fault,) = site.faults()
    assert fault.startswith("tls.key: ")
    assert fault.endswith("set tls.key_passphrase")
    assert site.faults(ask=lambda _: "right") == []
    named = CONFIG.replace('key = "server-key.pem"', 'key = "server-key.pem"\nkey_passphrase = "env:PASS"')
    assert site.faults(named, PASS="right") == []
    (fault,) = site.faults(named, PASS="wrong")
    assert fault.startswith("tls.key: the passphrase does not open")


@pytest.mark.parametrize(
    ("setting", "name"), [("tls.cert", "server"), ("ca[1].agent_cert", "agent"), ("ca[1].kra_agent_cert", "kra")]
)
def test_tls_certificates_that_no_peer_would_take(site: Site, setting: str, name: str) -> None:
    text = CONFIG.replace(
        'profile = "x"',
        'profile = "x"\nkra_url = "https://kra.example"\nkra_agent_cert = "kra.pem"\nkra_agent_key = "kra-key.pem"',
    )
    site.ca.client("CN=kra").write(site.folder, "kra")
    assert site.faults(text) == []
    make = site.sub.server if name == "server" else site.ca.client
    make(key=pki.rsa_key(1024)).write(site.folder, name)
    (fault,) = site.faults(text)
    assert fault.startswith(f"{setting}: no TLS connection can be made with this: ee key too small; use")


@pytest.mark.parametrize(
    ("key", "name", "make"),
    [
        ("tls.cert", "server", lambda site, **when: site.sub.server(**when)),
        ("ca[1].agent_cert", "agent", lambda site, **when: site.ca.client(**when)),
    ],
)
def test_not_valid_now(site: Site, key: str, name: str, make: Callable[..., pki.Identity]) -> None:
    make(site, not_after=PAST).write(site.folder, name)
    (fault,) = site.faults()
    assert fault.startswith(f"{key}: the certificate CN=")
    assert f"expired on {PAST:%Y-%m-%d %H:%M} UTC" in fault
    make(site, not_before=FUTURE, not_after=FUTURE + DAY).write(site.folder, name)
    (fault,) = site.faults()
    assert fault.startswith(f"{key}: the certificate CN=")
    assert "is not valid before" in fault


def test_expired_trust_anchor(site: Site) -> None:
    anchor = pki.root("CN=Other", site.other.key, not_after=PAST)
    anchor.write(site.folder, "other")
    (fault,) = site.faults()
    assert fault.startswith("tls.client_auth.trust_anchors: the certificate CN=Other expired")


def test_tls_04_server_certificate_without_names(site: Site) -> None:
    key = pki.ec_key()
    pki.Identity(site.ca.certify(key, "CN=localhost"), key).write(site.folder, "server")
    (fault,) = site.faults()
    assert fault.startswith("tls.cert: the certificate has no DNS name or IP address")


def test_tls_04_server_certificate_for_another_host(site: Site) -> None:
    site.sub.server("est.example.com").write(site.folder, "server")
    (fault,) = site.faults()
    assert (
        fault == "tls.cert: the certificate is not for localhost, where the server listens; it is for est.example.com"
    )


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("est.example.com", True),
        ("EST.example.com", True),
        ("*.example.com", True),
        ("*.com", False),
        ("example.com", False),
    ],
)
def test_tls_04_names(site: Site, name: str, fits: bool) -> None:
    site.sub.server(name).write(site.folder, "server")
    assert (site.faults(CONFIG.replace("localhost:", "est.example.com:")) == []) is fits


def test_tls_12_server_certificate_for_other_uses(site: Site) -> None:
    cmc_ra = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
    site.sub.server(usages=[cmc_ra]).write(site.folder, "server")
    (fault,) = site.faults()
    assert fault.startswith("tls.cert: the certificate CN=localhost is not for this use: ")
    assert "serverAuth" in fault
    site.sub.server(usages=[cmc_ra, ExtendedKeyUsageOID.SERVER_AUTH]).write(site.folder, "server")
    assert site.faults() == []
    site.sub.server(usages=[]).write(site.folder, "server")  # no extended key usage: good for any
    assert site.faults() == []


def test_agent_certificate_for_other_uses(site: Site) -> None:
    site.ca.client("CN=agent", usages=[ExtendedKeyUsageOID.SERVER_AUTH]).write(site.folder, "agent")
    (fault,) = site.faults()
    assert fault.startswith("ca[1].agent_cert: ")
    assert "clientAuth" in fault


def test_the_agent_at_the_kra_is_looked_at_too(site: Site) -> None:
    lines = 'kra_url = "https://kra"\nkra_agent_cert = "kra.pem"\nkra_agent_key = "kra-key.pem"\n'
    text = CONFIG.replace('profile = "x"\n', f'profile = "x"\n{lines}')
    site.ca.client("CN=kra agent").write(site.folder, "kra")
    assert site.faults(text) == []
    site.ca.client("CN=kra agent", not_after=PAST).write(site.folder, "kra")
    (fault,) = site.faults(text)
    assert fault.startswith("ca[1].kra_agent_cert: the certificate CN=kra agent expired on ")


def test_chain_in_the_wrong_order(site: Site) -> None:
    server = site.sub.server()
    server.write(site.folder, "server")
    site.certificate("server.pem", server.certificate, site.ca.certificate, site.sub.certificate)
    assert [fault for fault in site.faults() if "the chain breaks: CN=localhost was not issued by CN=Root" in fault]


def test_same_name_is_not_the_same_ca(site: Site) -> None:
    impostor = pki.root("CN=Root")
    site.certificate("chain.pem", impostor.certificate)
    (fault,) = site.faults(CONFIG.replace('chain = "ca.pem"', 'chain = "chain.pem"'))
    assert fault.startswith("ca[0].chain: the chain breaks: CN=Sub was not issued by CN=Root")


def test_file_ca_without_its_root(site: Site) -> None:
    (fault,) = site.faults(CONFIG.replace('chain = "ca.pem"\n', ""))
    assert fault == "ca[0].cert: the chain does not reach a root: add the certificate of CN=Root"


def test_file_ca_that_is_none(site: Site) -> None:
    leaf = site.ca.client("CN=leaf")
    site.certificate("sub.pem", leaf.certificate)
    site.file("sub-key.pem").write_bytes(pki.key_pem(leaf.key))
    (fault,) = site.faults()
    assert fault == "ca[0].cert: CN=leaf is not the certificate of a CA (basicConstraints)"


def test_file_ca_that_may_not_sign(site: Site) -> None:
    usage = pki._key_usage(digital_signature=True)
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    site.certificate(
        "sub.pem", site.ca.certify(site.sub.key, "CN=Sub", extensions=[(constraints, True), (usage, True)])
    )
    (fault,) = site.faults()
    assert fault == "ca[0].cert: the CA certificate CN=Sub may not sign certificates: its key usage lacks keyCertSign"


def test_trust_anchor_that_is_no_ca(site: Site) -> None:
    site.certificate("other.pem", site.other.certificate, site.other.client("CN=leaf").certificate)
    found = site.faults()
    assert "tls.client_auth.trust_anchors: CN=leaf is not the certificate of a CA (basicConstraints)" in found
