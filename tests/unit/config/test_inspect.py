"""What stands behind the words: files, keys, certificates, CRLs, users."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from kipuka.access.users import hash_password
from kipuka.config import material
from kipuka.config.inspect import inspect
from kipuka.config.load import parse
from kipuka.tls import trial
from tests.support import pki

CONFIG = """
[server]
listen = ["localhost:8443", "127.0.0.1:8444", "systemd:est"]
[tls]
cert = "server.pem"
key = "server-key.pem"
[tls.client_auth]
trust_anchors = ["ca.pem", "other.pem"]
crl = "crl.pem"
[[ca]]
id = "local"
cert = "sub.pem"
key = "sub-key.pem"
chain = "ca.pem"
[[ca]]
id = "dogtag"
type = "dogtag"
url = "https://dogtag.example.com"
agent_cert = "agent.pem"
agent_key = "agent-key.pem"
ca_cert = "ca.pem"
profile = "x"
[est]
users = "users"
"""
DAY = timedelta(days=1)
PAST, FUTURE = pki.NOW - DAY, pki.NOW + DAY


@dataclasses.dataclass
class Site:
    """A directory where everything is as it should be, and the means to spoil it."""

    folder: Path
    ca: pki.Issuer
    sub: pki.Issuer
    other: pki.Issuer

    def file(self, name: str) -> Path:
        return self.folder / name

    def crls(self, *crls: x509.CertificateRevocationList) -> None:
        self.file("crl.pem").write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in crls))

    def certificate(self, name: str, *certificates: x509.Certificate) -> None:
        self.file(name).write_bytes(pki.pem(*certificates))

    def faults(self, text: str = CONFIG, ask: Callable[[str], str] | None = None, **environ: str) -> list[str]:
        config = parse(text, self.folder)
        return [str(fault) for fault in inspect(config, pki.NOW, trial, ask=ask, environ=environ)]


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


def test_good(site: Site) -> None:
    assert site.faults() == []


def test_nothing_there(site: Site) -> None:
    for file in site.folder.iterdir():
        file.unlink()
    found = site.faults()
    assert [fault.split(":")[0] for fault in found] == [
        "tls.cert",
        "tls.key",
        "tls.client_auth.trust_anchors",
        "tls.client_auth.trust_anchors",
        "tls.client_auth.crl",
        "ca[0].cert",
        "ca[0].key",
        "ca[0].chain",
        "ca[1].agent_cert",
        "ca[1].agent_key",
        "ca[1].ca_cert",
        "est.users",
    ]
    assert all(": cannot read " in fault and fault.endswith(": No such file or directory") for fault in found)


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


def test_every_trust_anchor_needs_a_crl_if_there_is_one(site: Site) -> None:
    site.crls(site.ca.crl())
    (fault,) = site.faults()
    assert fault.startswith("tls.client_auth.crl: there is no CRL of CN=Other")
    assert site.faults(CONFIG.replace('crl = "crl.pem"', "crl = []")) == []


def test_a_file_ca_publishes_its_own_crl(site: Site) -> None:
    site.certificate("other.pem", site.other.certificate, site.sub.certificate)
    assert site.faults() == []
    stranger = site.ca.intermediate("CN=Not Ours")
    site.certificate("other.pem", site.other.certificate, stranger.certificate)
    (fault,) = site.faults()
    assert fault.startswith("tls.client_auth.crl: there is no CRL of CN=Not Ours")


def test_crl_that_is_past(site: Site) -> None:
    site.crls(site.ca.crl(next_update=PAST), site.other.crl(last_update=FUTURE, next_update=FUTURE + DAY))
    late, early = site.faults()
    assert late.startswith("tls.client_auth.crl: the CRL of CN=Root was to be renewed by ")
    assert early.startswith("tls.client_auth.crl: the CRL of CN=Other is not valid before ")


def test_crl_of_a_stranger(site: Site) -> None:
    site.crls(site.ca.crl(), site.other.crl(), pki.root("CN=Stranger").crl())
    (fault,) = site.faults()
    assert fault.startswith("tls.client_auth.crl: the CRL of CN=Stranger is from none of the CAs")


def test_forged_crl(site: Site) -> None:
    site.crls(site.ca.crl(), pki.root("CN=Other").crl())
    (fault,) = site.faults()
    assert fault == "tls.client_auth.crl: the CRL of CN=Other does not carry that CA's signature"


def test_users(site: Site) -> None:
    site.file("users").write_text("alice:$apr1$x$y\nbob\n")
    first, second = site.faults()
    assert first.startswith(f"est.users: {site.file('users')}, line 1: the hash is Apache's MD5 (apr1)")
    assert second.startswith(f"est.users: {site.file('users')}, line 2: expected NAME:HASH")
    site.file("users").write_bytes(b"\xff")
    (fault,) = site.faults()
    assert "not UTF-8" in fault


def test_database_without_its_directory(site: Site) -> None:
    assert site.faults(CONFIG + '[db]\nurl = "sqlite:///no/kipuka.db"\n') == [
        f"db.url: there is no directory {site.folder / 'no'}; make it, or name another"
    ]


def test_database_that_is_a_directory(site: Site) -> None:
    (site.folder / "kipuka.db").mkdir()
    assert site.faults() == [f"db.url: {site.folder / 'kipuka.db'} is not a file that can be read and written"]


def test_database_in_a_directory_of_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != site.folder)  # root may write everywhere
    assert site.faults() == [f"db.url: the directory {site.folder} cannot be written; name another"]


def test_audit_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG + '[audit]\nfile = "audit.json"\n'
    file = site.folder / "audit.json"
    assert site.faults(config) == []
    assert not file.exists()
    file.mkdir()
    assert site.faults(config) == [f"audit.file: {file} is not a file that can be read and written"]
    assert site.faults(config.replace("audit.json", "no/audit.json")) == [
        f"audit.file: there is no directory {site.folder / 'no'}; make it, or name another"
    ]
    file.rmdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != site.folder)  # root may write everywhere
    assert f"audit.file: the directory {site.folder} cannot be written; name another" in site.faults(config)


def test_postgresql_needs_its_driver(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    postgresql = CONFIG + '[db]\nurl = "postgresql://kipuka@db.example.com/kipuka"\n'
    assert site.faults(postgresql) == []
    monkeypatch.setattr("kipuka.config.inspect.find_spec", lambda name: None)
    (fault,) = site.faults(postgresql)
    assert fault.startswith("db.url: PostgreSQL needs psycopg 3: install ")


def test_trust_anchors_of_a_label_are_among_those_of_the_handshake(site: Site) -> None:
    label = '[[est.label]]\nname = "lab"\nca_id = "local"\ntrust_anchors = {}\n'
    assert site.faults(CONFIG + label.format('["ca.pem", "other.pem"]')) == []
    (fault,) = site.faults(CONFIG + label.format('"sub.pem"'))
    assert fault.startswith("est.label[0].trust_anchors: CN=Sub is not among tls.client_auth.trust_anchors")
    (fault,) = site.faults(CONFIG + label.format('"none.pem"'))
    assert fault.startswith("est.label[0].trust_anchors: cannot read ")


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
    (fault,) = site.faults(text)
    assert fault.startswith(f"admin.trust_anchors: {OWN.format('local')}")


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
