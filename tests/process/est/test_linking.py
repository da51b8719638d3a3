"""Proof of possession (RFC 7030 §3.5) over real TLS sessions: tls-unique of 1.2 and tls-exporter of 1.3."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from OpenSSL import SSL

from tests.process.client import Connection
from tests.process.sites import Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.fakes import body
from tests.web.wire import EST, Answer

LABELS = ["", "/linked"]
PROTOCOLS = ["TLSv1.2", "TLSv1.3"]


@contextmanager
def session(site: Site, protocol: str) -> Iterator[tuple[Connection, bytes]]:
    """A connection with a client certificate, and its channel binding."""
    client = site.client(site.device())
    if protocol == "TLSv1.2":
        with client.connect(ssl.TLSVersion.TLSv1_2) as connection:
            value = connection.stream.get_channel_binding("tls-unique")
            assert value is not None
            assert len(value) == 12
            yield connection, value
    else:
        with client.openssl() as (connection, tls):
            assert tls.get_protocol_version_name() == protocol
            yield connection, tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


def ask(connection: Connection, label: str, password: bytes | None, operation: str = "simpleenroll") -> Answer:
    text = None if password is None else base64.b64encode(password).decode()
    csr = pki.csr(pki.ec_key(), "CN=device-1", challenge_password=text)
    return connection.post(f"{EST}{label}/{operation}", body(csr))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("label", LABELS)
def test_pop_01_02_04_06_the_right_value(site: Site, daemon: Daemon, protocol: str, label: str) -> None:
    with session(site, protocol) as (connection, value):
        for operation in ("simpleenroll", "simplereenroll", "simpleenroll"):
            assert ask(connection, label, value, operation).status == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("label", LABELS)
def test_pop_02_a_wrong_value_is_refused_everywhere(site: Site, daemon: Daemon, protocol: str, label: str) -> None:
    with session(site, protocol) as (connection, value):
        for wrong in (bytes(len(value)), value[:-1] + bytes([value[-1] ^ 1]), value + b"\0", value[1:]):
            assert ask(connection, label, wrong).status == 403
        assert ask(connection, label, value).status == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pop_03_absent_is_refused_only_where_it_is_required(site: Site, daemon: Daemon, protocol: str) -> None:
    with session(site, protocol) as (connection, _):
        assert ask(connection, "", None).status == 200
        answer = ask(connection, "/linked", None)
        assert answer.status == 403
        assert "challengePassword" in answer.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pop_12_t21_a_value_is_worth_nothing_on_another_connection(site: Site, daemon: Daemon, protocol: str) -> None:
    with session(site, protocol) as (first, value), session(site, protocol) as (second, other):
        assert value != other
        answer = ask(second, "", value)
        assert answer.status == 403
        assert "middlebox" in answer.text  # T21
        assert ask(first, "", value).status == 200
    with session(site, protocol) as (third, _):
        assert ask(third, "/linked", value).status == 403


def test_pop_06_finished_messages_of_tls_1_3_do_not_count(site: Site, daemon: Daemon) -> None:
    with site.client(site.device()).openssl() as (connection, tls):
        for finished in (tls.get_finished(), tls.get_peer_finished()):
            assert finished
            assert ask(connection, "/linked", finished).status == 403


def test_pop_04_07_with_tls_1_2_only_the_clients_finished_counts(site: Site, daemon: Daemon) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with site.client(site.device()).openssl(context) as (connection, tls):
        assert ask(connection, "/linked", tls.get_peer_finished()).status == 403
        exported = tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        assert ask(connection, "/linked", exported).status == 403
        assert ask(connection, "/linked", tls.get_finished()).status == 200


def test_t16_the_whole_value_fits_libest_s_limit(site: Site, daemon: Daemon) -> None:
    with session(site, "TLSv1.2") as (_, value):
        assert len(base64.b64encode(value)) <= 17
