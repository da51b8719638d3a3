"""The commands for devices: this configuration's host, port, labels and ways to authenticate."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.cli.doctor import clients
from kipuka.config import load
from kipuka.config.model import Config
from tests.support import pki

CONFIG = """
[server]
listen = ["[::]:9443"]
[tls]
cert = "server.pem"
key = "server-key.pem"
[tls.client_auth]
trust_anchors = "maker.pem"
[[ca]]
id = "local"
cert = "ca.pem"
key = "ca-key.pem"
[est]
users = "users"
[[est.label]]
name = "basic"
ca_id = "local"
auth = ["basic"]
[[est.label]]
name = "maker"
ca_id = "local"
auth = ["certificate"]
[[est.label]]
name = "both"
ca_id = "local"
auth = ["certificate+basic"]
subject_pattern = "CN={user},O=Example"
san_pattern = "DNS:{cn}"
allowed_key_types = ["rsa-2048", "rsa-3072"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ca = pki.root()
    ca.write(tmp_path, "ca")
    pki.root("CN=Maker").write(tmp_path, "maker")
    ca.server("*.example.com", "est.example.com").write(tmp_path, "server")
    return tmp_path


def lines(config: Config, label: str | None) -> dict[str, str]:
    endpoint = next(each for each in clients.endpoints(config) if each.label == label)
    return {each.client.split()[0]: "\n".join(each.lines) for each in clients.commands(endpoint)}


def test_place(folder: Path) -> None:
    config = load.parse(CONFIG, folder)
    first = next(clients.endpoints(config))
    assert (first.server, first.trust) == ("est.example.com:9443", str(folder / "ca.pem"))
    base = "https://est.example.com:9443/.well-known/est"
    assert [each.url for each in clients.endpoints(config)] == [base, f"{base}/basic", f"{base}/maker", f"{base}/both"]


def test_password(folder: Path) -> None:
    found = lines(load.parse(CONFIG, folder), "basic")
    assert "--user USER:PASSWORD" in found["curl"]
    assert "--cert device.pem" not in found["curl"]
    assert "https://est.example.com:9443/.well-known/est/basic/simpleenroll" in found["curl"]
    assert (
        "pki --est --url https://est.example.com:9443/basic --in request.der --userpass USER:PASSWORD"
        in found["strongSwan"]
    )
    assert "-s est.example.com -p 9443 --path-seg basic" in found["libest"]
    assert 'withLabel("basic")' in found["Bouncy"]
    assert "withKeyManagers" not in found["Bouncy"]


def test_certificate(folder: Path) -> None:
    found = lines(load.parse(CONFIG, folder), "maker")
    assert "--cert device.pem --key device-key.pem" in found["curl"]
    assert "--user" not in found["curl"]
    assert "--userpass" not in found["strongSwan"]
    assert "cannot enroll with a certificate" in found["strongSwan"]
    assert "-c device.pem -k device-key.pem" in found["libest"]
    assert "JcaHttpAuthBuilder" not in found["Bouncy"]


def test_both(folder: Path) -> None:
    curl = lines(load.parse(CONFIG, folder), "both")["curl"]
    assert "--user USER:PASSWORD --cert device.pem --key device-key.pem" in curl


def test_what_a_label_demands_is_said_and_with_a_default_label_also_without_one(folder: Path) -> None:
    text = CONFIG.replace("[est]", '[est]\ndefault_label = "both"')
    found = {each.label: each.notes for each in clients.endpoints(load.parse(text, folder))}
    assert found["both"] == (
        "subject_pattern is CN={user},O=Example: make /CN=NAME fit, such as /O=Example/CN=NAME for CN=NAME,O=Example",
        "san_pattern is DNS:{cn}: make the subjectAltName fit, or leave it out",
        "allowed_key_types are rsa-2048, rsa-3072: make the key one of these",
    )
    assert (found[None], found["basic"]) == (found["both"], ())
    assert f"# {found['both'][0]}" in clients.text(load.parse(CONFIG, folder))


def test_what_curl_stores_is_decoded(folder: Path) -> None:
    curl = lines(load.parse(CONFIG, folder), "basic")["curl"]
    for stem, certificate in (("answer", "new"), ("renewed", "renewed")):
        assert f"-o {stem}.b64" in curl
        decoded = f"openssl base64 -d -in {stem}.b64 | openssl pkcs7 -inform DER -print_certs -out {certificate}.pem"
        assert decoded in curl


def test_default_label_holds_without_a_label(folder: Path) -> None:
    config = load.parse(CONFIG.replace("[est]", '[est]\ndefault_label = "maker"'), folder)
    assert next(clients.endpoints(config)).auth == ("certificate",)


def test_what_is_not_set_up_is_not_offered(folder: Path) -> None:
    text = CONFIG.split("[est]", maxsplit=1)[0]
    assert next(clients.endpoints(load.parse(text, folder))).auth == ("certificate",)


def test_unreadable_certificate(folder: Path) -> None:
    (folder / "server.pem").unlink()
    first = next(clients.endpoints(load.parse(CONFIG, folder)))
    assert (first.host, first.port, first.trust) == ("est.example.com", 9443, "tls-ca.pem")


def test_text_names_every_label_and_program(folder: Path) -> None:
    text = "\n".join(clients.text(load.parse(CONFIG, folder)))
    for word in (
        "without a label",
        '"basic"',
        '"maker"',
        '"both"',
        "curl",
        "pki --est",
        "estclient",
        "JsseESTServiceBuilder",
    ):
        assert word in text
