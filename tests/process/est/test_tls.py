"""What the TLS listener takes, refuses and tells the audit."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from tests.process.client import Tls
from tests.process.conftest import check_log
from tests.process.sites import DAY, Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.fakes import body
from tests.web.wire import EST

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
AEAD = {
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
}
pytestmark = pytest.mark.usefixtures("daemon")


def alert(site: Site, context: SSL.Context) -> str:
    """Make a handshake that must fail; return OpenSSL's reason."""
    with pytest.raises(SSL.Error) as caught, site.client().openssl(context):
        pass
    return str(caught.value)


def version_only(minimum: int, maximum: int, ciphers: bytes = b"ALL:@SECLEVEL=0") -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(ciphers)
    context.set_min_proto_version(minimum)
    context.set_max_proto_version(maximum)
    return context


def test_tls_02_no_version_before_1_2(site: Site) -> None:
    for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
        assert "alert protocol version" in alert(site, version_only(version, version))


@pytest.mark.parametrize("version", VERSIONS)
def test_tls_02_04_both_current_versions_with_a_name_in_the_certificate(site: Site, version: ssl.TLSVersion) -> None:
    with site.client().connect(version) as connection:  # checks chain and name
        assert connection.get(f"{EST}/cacerts").status == 200


@pytest.mark.parametrize(
    "ciphers",
    [
        b"ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA",
        b"AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA",
        b"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-SHA",
        b"aNULL:@SECLEVEL=0",
        b"eNULL:@SECLEVEL=0",
        b"ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-CAMELLIA128-SHA256:ECDHE-ECDSA-ARIA128-GCM-SHA256",
    ],
)
def test_tls_03_suites_that_are_not_offered(site: Site, ciphers: bytes) -> None:
    assert "alert handshake failure" in alert(site, version_only(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION, ciphers))


@pytest.mark.parametrize("suite", sorted(suite for suite in AEAD if "ECDSA" in suite))
def test_tls_03_suites_that_are_offered(site: Site, suite: str) -> None:
    context = version_only(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION, suite.encode())
    with site.client().openssl(context) as (connection, tls):
        assert tls.get_cipher_name() == suite
        assert connection.get(f"{EST}/cacerts").status == 200


def test_tls_03_the_suite_of_choice_is_aead(site: Site) -> None:
    with site.client().openssl(version_only(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)) as (_, tls):
        assert tls.get_cipher_name() in AEAD


def test_tls_10_a_client_may_not_renegotiate(site: Site) -> None:
    with site.client().openssl(version_only(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)) as (connection, tls):
        assert connection.get(f"{EST}/cacerts").status == 200
        assert tls.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            tls.do_handshake()


@pytest.mark.parametrize("version", VERSIONS)
def test_no_session_is_resumed(site: Site, version: ssl.TLSVersion) -> None:
    """TLS-09 is off on purpose: tls-unique and revocation need a full handshake."""
    client = site.client(site.device())
    context = client.context(version)
    with client.connect(context=context) as connection:
        assert connection.get(f"{EST}/cacerts").status == 200
        session = connection.stream.session
    reused = []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", site.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            reused.append(secure.session_reused)
    assert reused == [False, False]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)],
)
def test_tls_13_alpn_is_http_1_1_only(site: Site, offered: list[str], chosen: str | None) -> None:
    context = site.client().context()
    if offered:
        context.set_alpn_protocols(offered)
    with site.client().connect(context=context) as connection:
        assert connection.stream.selected_alpn_protocol() == chosen
        assert connection.get(f"{EST}/cacerts").status == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_tls_05_auth_05_with_and_without_a_certificate(site: Site, version: ssl.TLSVersion) -> None:
    with site.client().connect(version) as connection:
        assert connection.get(f"{EST}/cacerts").status == 200
        assert connection.post(f"{EST}/simpleenroll", CSR).status == 401
    for identity in (site.device(), site.maker.client("CN=birth")):
        with site.client(identity).connect(version) as connection:
            assert connection.post(f"{EST}/simpleenroll", CSR).status == 200


def test_tls_06_a_makers_certificate_does_not_renew(site: Site) -> None:
    with site.client(site.maker.client("CN=device-1")).connect() as connection:
        assert connection.post(f"{EST}/simplereenroll", CSR).status == 403
    with site.client(site.device()).connect() as connection:
        assert connection.post(f"{EST}/simplereenroll", CSR).status == 200


def test_tls_06_a_label_takes_certificates_of_its_own_trust_anchors_only(own: Site) -> None:
    """Not by name: the maker can make a CA below its own, and call it as it likes."""
    with own.write().open("a") as config:
        config.write(
            '[[est.label]]\nname = "own"\nca_id = "main"\nauth = ["certificate"]\n'
            'subject_pattern = "CN={cn}"\ntrust_anchors = "ca.pem"\n'
        )
    pretender = own.maker.intermediate("CN=Process CA").client("CN=device-1")
    with Daemon(own.config) as daemon:
        for identity in (own.maker.client("CN=device-1"), pretender):
            with own.client(identity).connect() as connection:
                answer = connection.post(f"{EST}/own/simpleenroll", CSR)
                assert answer.status == 403
                assert "do not count here" in answer.text
                assert connection.post(f"{EST}/own/simplereenroll", CSR).status == 403
                assert connection.post(f"{EST}/simpleenroll", CSR).status == 200
        with own.client(own.device()).connect() as connection:
            assert connection.post(f"{EST}/own/simpleenroll", CSR).status == 200
            assert connection.post(f"{EST}/own/simplereenroll", CSR).status == 200
        issuers = re.findall(r'"event": "enrollment",.*"certificate_issuer": "([^"]*)"', daemon.log_text())
        assert issuers == ["CN=Maker CA"] + ["CN=Process CA"] * 3
    check_log(daemon)


def refused(tls: Tls, version: ssl.TLSVersion) -> None:
    """The handshake ends without an answer; with TLS 1.3 the client hears of it when it reads."""
    with pytest.raises((ssl.SSLError, ConnectionError)), tls.connect(version) as connection:
        connection.get(f"{EST}/cacerts")


def audited(daemon: Daemon, subject: str) -> dict[str, object]:
    """The record of a refused certificate, which may be a moment late."""
    for _ in range(50):
        for line in daemon.log_text().splitlines():
            if '"client certificate refused"' in line:
                record: dict[str, object] = json.loads(line[line.index("{") :])
                if record["subject"] == subject:
                    return record
        time.sleep(0.1)
    raise AssertionError(f"no audit record for {subject}:\n{daemon.log_tail()}")


def bad_certificates(site: Site) -> Iterator[tuple[str, pki.Identity, int]]:
    """Name, identity, X509_V_ERR number."""
    ca = site.ca
    yield "expired", ca.client("CN=expired", not_after=pki.NOW - DAY), 10
    yield "future", ca.client("CN=future", not_before=pki.NOW + DAY, not_after=pki.NOW + 2 * DAY), 9
    yield "revoked", site.revoked, 23
    yield "server", ca.client("CN=server", usages=[ExtendedKeyUsageOID.SERVER_AUTH]), 26
    yield "foreign", pki.root("CN=Foreign CA").client("CN=foreign"), 20
    yield "same-name", pki.root("CN=Process CA").client("CN=same-name"), 20
    yield "self-signed", pki.root("CN=self-signed"), 18


BAD = ["expired", "future", "revoked", "server", "foreign", "same-name", "self-signed"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BAD)
def test_tls_07_08_bad_certificates_are_refused_with_errno_and_depth(
    site: Site, daemon: Daemon, name: str, version: ssl.TLSVersion
) -> None:
    identity, errno = next((identity, errno) for each, identity, errno in bad_certificates(site) if each == name)
    refused(site.client(identity), version)
    record = audited(daemon, identity.certificate.subject.rfc4514_string())
    assert (record["errno"], record["depth"]) == (errno, 0), record
    assert record["address"] == "127.0.0.1"
    with site.client().connect() as connection:
        assert connection.get(f"{EST}/cacerts").status == 200


@pytest.mark.parametrize(
    "written", [b"\x0c\x08\xff\xfe\xc0\x80\xff\xfe\xc0\x80", b"\x14\x08\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_tls_07_a_certificate_whose_names_cannot_be_read_is_refused_quietly(
    site: Site, daemon: Daemon, written: bytes, version: ssl.TLSVersion
) -> None:
    """OpenSSL takes T61Strings that cryptography does not; the audit must not stumble over them."""
    key = pki.ec_key()
    der = pki.root("CN=AAAAAAAA", key).certificate.public_bytes(pki.serialization.Encoding.DER)
    broken = der.replace(b"\x0c\x08AAAAAAAA", written)
    assert broken != der
    refused(site.client(pki.Identity(pki.x509.load_der_x509_certificate(broken), key)), version)
    with site.client().connect() as connection:
        assert connection.get(f"{EST}/cacerts").status == 200
    check_log(daemon)


@pytest.mark.parametrize("version", VERSIONS)
def test_auth_01_mode_required_refuses_whoever_has_no_certificate(own: Site, version: ssl.TLSVersion) -> None:
    own.write(client_auth={"mode": "required"})
    with Daemon(own.config) as daemon:
        refused(own.client(), version)
        with own.client(own.device()).connect(version) as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
            assert connection.post(f"{EST}/simpleenroll", CSR).status == 200
    check_log(daemon)


def test_mode_none_asks_for_no_certificate(own: Site) -> None:
    own.write(client_auth={"mode": "none", "trust_anchors": []})
    with Daemon(own.config) as daemon, own.client(own.device()).connect() as connection:
        assert connection.get(f"{EST}/cacerts").status == 200
        assert connection.post(f"{EST}/simpleenroll", CSR).status == 401
    check_log(daemon)


def test_tls_02_07_at_least_1_3_and_the_depth_of_an_expired_issuer(own: Site) -> None:
    own.write(tls={"min_version": "1.3"})
    with Daemon(own.config) as daemon:
        refused(own.client(), ssl.TLSVersion.TLSv1_2)
        daemon.logs("127.0.0.1 failed in the TLS handshake: protocol version")
        below = own.lapsed.client("CN=below")
        refused(
            own.client(pki.Identity(below.certificate, below.key, (own.lapsed.certificate,))), ssl.TLSVersion.TLSv1_3
        )
        record = audited(daemon, "CN=expired CA")
        assert (record["errno"], record["depth"]) == (10, 1)
        with own.client().connect() as connection:
            assert connection.stream.version() == "TLSv1.3"
