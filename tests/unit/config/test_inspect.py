"""What stands behind the words: files, CRLs, users, databases, the audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.observe.audit.file import AuditFile
from tests.support import pki
from tests.unit.config.site import CONFIG, DAY, FUTURE, PAST, Site
from tests.unit.observe.audit.records import record


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


def test_audit_file_of_somebody_else(site: Site) -> None:
    file = site.folder / "notes"
    config = CONFIG + '[audit]\nfile = "notes"\n'
    text = "keep the file elsewhere, and a new one is begun; or name another"
    for content in ("first\nsecond\n", "first\nsecond", "first"):
        file.write_text(content)
        assert site.faults(config) == [f"audit.file: the last line of {file} is no record of an audit: {text}"]
        assert file.read_text() == content
    file.write_text("")
    assert site.faults(config) == []
    (line,) = AuditFile(file).append([record()])
    file.write_text(f'{line}\n{{"seq": 2')  # as the machine went down
    assert site.faults(config) == []
    assert file.read_text().endswith('{"seq": 2')


@pytest.mark.parametrize("name", ["kipuka.db", "link.db"])
@pytest.mark.parametrize("exists", [False, True])
def test_audit_file_that_is_the_database(site: Site, name: str, *, exists: bool) -> None:
    database = site.folder / "kipuka.db"
    (site.folder / "link.db").symlink_to(database)
    if exists:
        database.touch()
    assert site.faults(CONFIG + f'[audit]\nfile = "{name}"\n') == [
        f"audit.file: {site.folder / name} is the file of the database, db.url; name another"
    ]


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
