"""The start is all or nothing: it serves, or it ends with one line for each fault and exit code 1."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.process.conftest import check_log
from tests.process.sites import Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.wire import EST

PASSPHRASE = "open sesame"


def refused(site: Site, **environment: str) -> list[str]:
    """Start the daemon, which must end by itself with code 1; return what it said."""
    daemon = Daemon(site.config, environment=environment)
    daemon.spawn()
    assert daemon.wait(30) == 1, daemon.log_tail()
    check_log(daemon)
    return daemon.log_text().splitlines()


def serves(site: Site, **environment: str) -> None:
    with Daemon(site.config, environment=environment) as daemon, site.client().connect() as connection:
        assert connection.get(f"{EST}/cacerts").status == 200
    check_log(daemon)


def test_a_good_configuration_serves_and_stops(own: Site) -> None:
    own.write()
    serves(own)


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(own: Site) -> None:
    own.write()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", own.port))
        holder.listen()
        (line,) = refused(own)
    assert f"cannot listen on 127.0.0.1:{own.port}" in line
    serves(own)


def test_a_bad_configuration_is_one_line_for_each_fault(own: Site) -> None:
    own.write(server={"max_body_size": "much", "idle_time": 5}, tls={"key": 7})
    lines = refused(own)
    assert len(lines) == 3
    for key in ("server.max_body_size", "server.idle_time", "tls.key"):
        assert sum(key in line for line in lines) == 1, lines


def test_uri_06_a_label_called_like_an_operation_is_refused(own: Site) -> None:
    label = "cacerts"
    config = own.write()
    config.write_text(config.read_text().replace('"linked"', f'"{label}"'))
    (line,) = refused(own)
    assert label in line
    assert "est.label" in line


def test_a_missing_file_is_named(own: Site) -> None:
    own.write(tls={"cert": "nowhere.pem"})
    lines = refused(own)
    assert any("nowhere.pem" in line for line in lines), lines


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write()
    daemon = Daemon(site.config)
    site.config.unlink()
    daemon.spawn()
    assert daemon.wait(30) == 1
    (line,) = daemon.log_text().splitlines()
    assert "kipuka.toml" in line


def test_a_key_of_another_certificate_is_refused(own: Site) -> None:
    (own.folder / "tls-key.pem").write_bytes(pki.key_pem(pki.ec_key()))
    own.write()
    (line,) = refused(own)
    assert "tls" in line


def test_a_certificate_that_no_client_would_take_is_one_line(own: Site) -> None:
    own.tls_root.server(key=pki.rsa_key(1024)).write(own.folder, "tls")
    own.write()
    (line,) = refused(own)
    assert "tls.cert: no TLS connection can be made with this: " in line


def encrypted(site: Site) -> None:
    site.tls_root.server().write(site.folder, "tls", PASSPHRASE)


def test_an_encrypted_key_with_its_passphrase_in_a_file(own: Site) -> None:
    encrypted(own)
    secret = own.folder / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSPHRASE}\n")
    own.write(tls={"key_passphrase": f"file:{secret}"})
    serves(own)


def test_an_encrypted_key_with_its_passphrase_in_the_environment(own: Site) -> None:
    encrypted(own)
    own.write(tls={"key_passphrase": "env:KIPUKA_TEST_PASSPHRASE"})
    serves(own, KIPUKA_TEST_PASSPHRASE=PASSPHRASE)


def test_an_encrypted_key_with_its_passphrase_from_systemd(own: Site) -> None:
    encrypted(own)
    (own.folder / "tls-passphrase").write_text(PASSPHRASE)
    own.write(tls={"key_passphrase": "credential:tls-passphrase"})
    serves(own, CREDENTIALS_DIRECTORY=os.fspath(own.folder))


@pytest.mark.parametrize("passphrase", [None, "swordfish"])
def test_an_encrypted_key_that_cannot_be_opened_is_one_line(own: Site, passphrase: str | None) -> None:
    encrypted(own)
    own.write(tls={} if passphrase is None else {"key_passphrase": "env:KIPUKA_TEST_PASSPHRASE"})
    (line,) = refused(own, KIPUKA_TEST_PASSPHRASE=passphrase or "")
    assert "passphrase" in line
    assert "swordfish" not in line


def test_tls_01_nothing_is_answered_in_clear(own: Site) -> None:
    own.write()
    with Daemon(own.config) as daemon:
        with socket.create_connection(("127.0.0.1", own.port), 10) as plain:
            plain.sendall(b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            try:
                while data := plain.recv(4096):
                    received += data
            except ConnectionResetError:
                pass
        assert b"HTTP" not in received
        with own.client().connect() as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
    check_log(daemon)
