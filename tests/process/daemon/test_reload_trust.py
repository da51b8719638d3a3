"""SIGHUP and who may come in: the server's certificate, trust anchors, CRLs, file CAs and their own CRLs."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import pytest
from cryptography import x509

from tests.process.admin.test_revocation import crl, enroll, gets_in, number, running
from tests.process.client import Tls
from tests.process.conftest import check_log
from tests.process.sites import Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.wire import EST


@pytest.fixture
def site(own: Site) -> Site:
    own.write(client_auth={"crl": "crls.pem"})
    return own


@pytest.fixture
def daemon(site: Site) -> Iterator[Daemon]:
    with Daemon(site.config) as daemon:
        yield daemon
    check_log(daemon)


def shown(site: Site) -> x509.Certificate:
    """The server's certificate, as a new connection sees it."""
    context = ssl.create_default_context(cafile=site.folder / "tls-root.pem")
    with Tls(site.port, site.folder / "tls-root.pem").connect(context=context) as connection:
        assert isinstance(connection.stream, ssl.SSLSocket)
        return x509.load_der_x509_certificate(connection.stream.getpeercert(binary_form=True) or b"")


def test_a_renewed_server_certificate(site: Site, daemon: Daemon) -> None:
    before = shown(site)
    with site.client().connect() as connection:
        assert connection.get(f"{EST}/cacerts").status == 200
        site.tls_root.server().write(site.folder, "tls")
        daemon.reload()
        answer = connection.get(f"{EST}/cacerts")  # an open connection is not dropped, and ends with its next answer
        assert (answer.status, answer.field("Connection")) == (200, "close")
        assert connection.answers_until_closed() == []
    assert shown(site) != before


def test_a_key_of_another_certificate_is_refused(site: Site, daemon: Daemon) -> None:
    before = shown(site)
    files = site.tls_root.server().write(site.folder, "other")
    (site.folder / "tls-key.pem").write_bytes(files.key.read_bytes())
    daemon.reload(well=False)
    assert shown(site) == before


def test_tls_07_a_newer_crl(site: Site, daemon: Daemon) -> None:
    device, other = site.device("CN=stolen"), site.device("CN=good")
    assert gets_in(site, device)
    lists = [site.ca.crl([device.certificate]), site.maker.crl()]
    (site.folder / "crls.pem").write_bytes(
        b"".join(each.public_bytes(pki.serialization.Encoding.PEM) for each in lists)
    )
    assert gets_in(site, device)
    daemon.reload()
    assert not gets_in(site, device)
    assert gets_in(site, other)


def test_a_trust_anchor_that_goes_and_comes(site: Site, daemon: Daemon) -> None:
    birth = site.maker.client("CN=birth")
    assert gets_in(site, birth)
    site.write(client_auth={"trust_anchors": ["ca.pem"]})
    daemon.reload()
    assert not gets_in(site, birth)
    site.write()
    daemon.reload()
    assert gets_in(site, birth)


def test_what_a_file_ca_revoked_before_and_after_is_honoured_and_the_crl_goes_on(own: Site) -> None:
    own.write(admin={"tokens": "tokens"})
    keys = [pki.ec_key(), pki.ec_key()]
    with running(own) as kipuka, own.client().connect() as connection:
        first, second = (enroll(connection, key) for key in keys)
        kipuka.revoke(first.serial_number, "keyCompromise")
        listed = crl(own)
        kipuka.daemon.reload()
        assert number(crl(own)) == number(listed)  # a reload is no reason for a CRL
        assert not gets_in(own, pki.Identity(first, keys[0]))
        assert gets_in(own, pki.Identity(second, keys[1]))
        kipuka.revoke(second.serial_number, "keyCompromise")
        assert number(crl(own)) > number(listed)
        assert not gets_in(own, pki.Identity(second, keys[1]))


def test_another_file_ca(own: Site) -> None:
    own.write(admin={"tokens": "tokens"})
    with running(own) as kipuka:
        pki.root("CN=Second CA").write(own.folder, "second")
        tables = [
            ("[[ca]]", {"id": "second", "cert": "second.pem", "key": "second-key.pem"}),
            ("[[est.label]]", {"name": "two", "ca_id": "second"}),
        ]
        with own.config.open("a") as config:
            for header, keys in tables:
                config.write("\n".join([header, *(f"{name} = {json.dumps(each)}" for name, each in keys.items()), ""]))
        kipuka.daemon.reload()
        with own.client().connect() as connection:
            issued = enroll(connection, pki.ec_key(), "two/simpleenroll")
            assert issued.issuer.rfc4514_string() == "CN=Second CA"
            assert connection.get("/crl/second").status == 200
        assert kipuka.revoke(issued.serial_number, "superseded") == ["second", "revoked"]
