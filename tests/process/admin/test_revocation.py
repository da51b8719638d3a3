"""Revocation at the file CA, with a real store and real TLS: the CRL, the handshake, re-enrollment, a restart.

A real daemon, and revocation as administrators ask for it: POST /admin/revoke with a token.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from kipuka.web.http.json_answers import MEDIA_TYPE
from tests.process.client import Connection, Tls
from tests.process.conftest import check_log
from tests.process.sites import ALICE, Site
from tests.support import pki
from tests.support.administrator import Administrator
from tests.support.daemon import Daemon, free_port
from tests.web.fakes import basic, body
from tests.web.wire import EST, Answer


class Running:
    """The daemon, and an administrator."""

    def __init__(self, administrator: Administrator, daemon: Daemon) -> None:
        self.revoke = administrator.revoke
        self.daemon = daemon


@contextmanager
def running(site: Site, admin_port: int | None = None) -> Iterator[Running]:
    administrator = Administrator(site.folder, admin_port or site.port, site.folder / "tls-root.pem")
    with Daemon(site.config) as daemon:
        yield Running(administrator, daemon)
    check_log(daemon)


def certificate(answer: Answer) -> x509.Certificate:
    assert answer.status == 200, answer
    (issued,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))
    return issued


def enroll(connection: Connection, key: pki.PrivateKey, operation: str = "simpleenroll") -> x509.Certificate:
    request = body(pki.csr(key, "CN=device-1"))
    return certificate(connection.post(f"{EST}/{operation}", request, authorization=basic(*ALICE)))


def crl(site: Site, ca_id: str = "main") -> x509.CertificateRevocationList:
    with site.client().connect() as connection:
        answer = connection.get(f"/crl/{ca_id}")
    assert (answer.status, answer.field("Content-Type")) == (200, "application/pkix-crl")
    parsed = x509.load_der_x509_crl(answer.body)
    assert parsed.is_signature_valid(site.ca.certificate.public_key())
    return parsed


def number(parsed: x509.CertificateRevocationList) -> int:
    return parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def gets_in(site: Site, identity: pki.Identity) -> bool:
    try:
        with site.client(identity).connect() as connection:
            return connection.get(f"{EST}/cacerts").status == 200
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.mark.parametrize("below_a_root", [False, True])
def test_tls_07_revoked_is_listed_and_refused_also_where_it_was_let_in_before(own: Site, below_a_root: bool) -> None:
    own = Site(own.folder, below_a_root=below_a_root)
    own.write(admin={"tokens": "tokens"})
    key = pki.ec_key()
    other = own.maker.client("CN=birth")  # of a trust anchor without a CRL
    with running(own) as kipuka:
        assert list(crl(own)) == []
        with own.client().connect() as connection:
            first = enroll(connection, key)
            assert enroll(connection, key) == first  # the replay
        device = pki.Identity(first, key)
        assert gets_in(own, device)
        with own.client(device).connect() as before, own.client(other).connect() as unconcerned:
            assert before.get(f"{EST}/cacerts").status == unconcerned.get(f"{EST}/cacerts").status == 200
            was = number(crl(own))
            assert kipuka.revoke(first.serial_number, "keyCompromise") == ["main", "revoked"]
            with pytest.raises(ConnectionError):
                before.get(f"{EST}/cacerts")
            assert unconcerned.get(f"{EST}/cacerts").status == 200
        listed = crl(own)
        assert number(listed) > was
        entry = listed.get_revoked_certificate_by_serial_number(first.serial_number)
        assert entry is not None
        assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
        assert not gets_in(own, device)
        assert gets_in(own, own.device())
        assert gets_in(own, other)
        with own.client().connect() as connection:
            assert enroll(connection, key) != first
        assert kipuka.revoke(first.serial_number, "superseded") == ["main", "already revoked"]
        assert kipuka.revoke(12345, "superseded")[0] == "not_found"
        assert kipuka.revoke(12345, "superseded", "main")[0] == "not_found"
        assert kipuka.revoke(first.serial_number, "superseded", "nobody")[0] == "not_found"
        assert kipuka.revoke(first.serial_number, "removeFromCRL")[0] == "conflict"
    with running(own):  # the first connection after a start already meets the CRL
        assert not gets_in(own, device)
        assert number(crl(own)) > number(listed)


def test_ren_07_revoked_is_not_renewed_even_where_no_crl_keeps_it_out(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = (x509.BasicConstraints(ca=True, path_length=None), True)
    usage = (pki._key_usage(digital_signature=False, key_cert_sign=True), True)  # not cRLSign
    monkeypatch.setattr(pki, "_ca_extensions", lambda: [constraints, usage])
    own = Site(own.folder)
    own.write(admin={"tokens": "tokens"})
    key = pki.ec_key()
    with running(own) as kipuka:
        with own.client().connect() as connection:
            device = pki.Identity(enroll(connection, key), key)
        with own.client(device).connect() as before:
            assert before.get(f"{EST}/cacerts").status == 200
            assert kipuka.revoke(device.certificate.serial_number, "keyCompromise") == ["main", "revoked"]
            # The book has the word.
            renewal = before.post(f"{EST}/simplereenroll", body(pki.csr(key, "CN=device-1")))
            assert (renewal.status, "revoked at the CA" in renewal.text) == (403, True)
        assert gets_in(own, device)


def test_under_another_id_it_stays_revoked(own: Site) -> None:
    own.write(admin={"tokens": "tokens"})
    key = pki.ec_key()
    with running(own) as kipuka:
        with own.client().connect() as connection:
            device = pki.Identity(enroll(connection, key), key)
        serial = device.certificate.serial_number
        assert kipuka.revoke(serial, "keyCompromise") == ["main", "revoked"]
        was = number(crl(own))
        own.config.write_text(own.config.read_text().replace('"main"', '"renamed"'))
        kipuka.daemon.reload()
        assert not gets_in(own, device)
        assert gets_in(own, own.device())
        listed = crl(own, "renamed")
        assert number(listed) >= was
        assert listed.get_revoked_certificate_by_serial_number(serial) is not None
        assert kipuka.revoke(serial, "keyCompromise")[0] == "conflict"  # by the ledger it was "main"
        assert kipuka.revoke(serial, "keyCompromise", "renamed") == ["renamed", "already revoked"]
    with running(own):
        assert not gets_in(own, device)


def test_after_an_older_copy_was_restored_the_audit_says_what_to_revoke_again(own: Site) -> None:
    own.write(admin={"tokens": "tokens"}, audit={"file": "audit.json"})
    database, key = own.folder / "kipuka.db", pki.ec_key()
    with running(own) as kipuka:
        with own.client().connect() as connection:
            device = pki.Identity(enroll(connection, key), key)
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(own.folder / "copy.db")) as copy:
            source.backup(copy)
        copied = datetime.now(UTC).isoformat()
        assert kipuka.revoke(device.certificate.serial_number, "keyCompromise")[1] == "revoked"
        was = number(crl(own))
    for file in own.folder.glob("kipuka.db*"):
        file.unlink()
    (own.folder / "copy.db").rename(database)
    records = [json.loads(line) for line in (own.folder / "audit.json").read_text().splitlines()]
    with running(own) as kipuka:
        assert gets_in(own, device)  # what docs/ledger.md warns of
        assert number(crl(own)) > was
        for each in records:
            if each["event"] == "revocation" and each["time"] > copied:
                kipuka.revoke(int(each["serial"], 16), each["operation"].split()[-1], each["ca"])
        assert not gets_in(own, device)


def test_hold_and_release(own: Site) -> None:
    own.write(admin={"tokens": "tokens"})
    key = pki.ec_key()
    with running(own) as kipuka:
        with own.client().connect() as connection:
            device = pki.Identity(enroll(connection, key), key)
        serial = device.certificate.serial_number
        assert kipuka.revoke(serial, "certificateHold")[1] == "on hold"
        assert not gets_in(own, device)
        assert kipuka.revoke(serial, "removeFromCRL")[1] == "released"
        assert list(crl(own)) == []
        with own.client(device).connect() as connection:
            enroll(connection, key, "simplereenroll")
        assert kipuka.revoke(serial, "certificateHold")[1] == "on hold"
        assert kipuka.revoke(serial, "affiliationChanged")[1] == "revoked"
        (entry,) = crl(own)
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert reason is x509.ReasonFlags.affiliation_changed


@pytest.mark.parametrize("file", ["maker-crl.pem", "crls.pem"])
def test_with_crl_files_both_count(own: Site, file: str) -> None:
    """A CRL of one anchor asks for CRLs of all; the file CA has its own, and one in a file counts beside that."""
    (own.folder / "maker-crl.pem").write_bytes(own.maker.crl().public_bytes(pki.serialization.Encoding.PEM))
    own.write(admin={"tokens": "tokens"}, client_auth={"crl": [file]})
    with running(own) as kipuka:
        key = pki.ec_key()
        with own.client().connect() as connection:
            device = pki.Identity(enroll(connection, key), key)
        assert gets_in(own, device)
        kipuka.revoke(device.certificate.serial_number, "superseded")
        assert not gets_in(own, device)
        assert gets_in(own, own.maker.client("CN=birth"))
        assert gets_in(own, own.revoked) == (file != "crls.pem")  # signed elsewhere: only the file knows of it


def test_the_administrators_port_honours_the_crl_too(own: Site) -> None:
    port = free_port()
    admin = {"tokens": "tokens", "trust_anchors": "ca.pem", "listen": f"127.0.0.1:{port}"}
    own.write(admin=admin | {"subjects": "CN=device-1"})
    with running(own, port) as kipuka:
        key = pki.ec_key()
        with own.client().connect() as connection:
            device = pki.Identity(enroll(connection, key), key)
        with Tls(port, own.folder / "tls-root.pem", device).connect() as connection:
            assert connection.get("/admin/ca").status == 200
        with Tls(port, own.folder / "tls-root.pem", own.device("CN=device-2")).connect() as connection:
            connection.errors = MEDIA_TYPE
            assert connection.get("/admin/ca").status == 401
        assert 'certificate of the CA "main" whose subject fits admin.subjects' in kipuka.daemon.log_text()
        assert kipuka.revoke(device.certificate.serial_number, "keyCompromise")[1] == "revoked"
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            Tls(port, own.folder / "tls-root.pem", device).connect() as connection,
        ):
            connection.get("/admin/ca")
        assert not gets_in(own, device)
        assert len(list(crl(own))) == 1  # on the EST port


def test_the_crl_over_http(own: Site) -> None:
    own.write(admin={"tokens": "tokens"})
    with running(own), own.client().connect() as connection:
        connection.errors = MEDIA_TYPE
        first = connection.get("/crl/main")
        parsed = x509.load_der_x509_crl(first.body)
        assert parsed.next_update_utc is not None
        assert parsed.next_update_utc > datetime.now(UTC) + timedelta(hours=12)
        assert first.field("Cache-Control") == "public, max-age=60"
        again = connection.get("/crl/main", if_none_match=first.field("ETag"))
        assert (again.status, again.body) == (304, b"")
        head = connection.request("HEAD", "/crl/main")
        assert (head.status, head.body) == (200, b"")
        assert connection.request("POST", "/crl/main", b"x").status == 405
        for path in ("/crl", "/crl/", "/crl/other", "/crl/main/more"):
            answer = connection.get(path)
            assert (answer.status, b"There is no" in answer.body) == (404, True)
