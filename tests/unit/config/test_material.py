"""PEM files and their passphrases."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7, pkcs12

from kipuka.config import material
from kipuka.config.material import MaterialError
from kipuka.config.secret import Secret
from tests.support import pki

RIGHT = Secret("env", "PASS")


@pytest.fixture(scope="module")
def ca() -> pki.Issuer:
    return pki.root()


def encrypted(folder: Path, ca: pki.Issuer) -> Path:
    return ca.write(folder, "ca", passphrase="right").key


def test_certificates_in_the_order_of_the_file(tmp_path: Path, ca: pki.Issuer) -> None:
    server = ca.intermediate().server()
    files = server.write(tmp_path, "server")
    assert material.certificates(files.certificate) == server.chain


def test_crls(tmp_path: Path, ca: pki.Issuer) -> None:
    first, second = ca.crl(), ca.crl([5])
    file = tmp_path / "crl.pem"
    file.write_bytes(first.public_bytes(Encoding.PEM) + b"text between\n" + second.public_bytes(Encoding.PEM))
    assert material.crls(file) == (first, second)


def test_names_that_cannot_be_read(tmp_path: Path) -> None:
    """Latin-1 in a T61String, as old roots have it; it is the issuer's name alone in what such a root has issued."""

    def latin(der: bytes) -> bytes:
        assert b"\x0c\x07Societe" in der
        return der.replace(b"\x0c\x07Societe", b"\x14\x07Soci\xe9t\xe9")

    old = pki.root("O=Societe")
    file = tmp_path / "old.pem"
    for each in (old, old.intermediate()):
        old_der = latin(each.certificate.public_bytes(Encoding.DER))
        file.write_bytes(pki.pem(pki.root().certificate, x509.load_der_x509_certificate(old_der)))
        with pytest.raises(MaterialError, match=f"^{file}: the name in a certificate cannot be read; leave it out"):
            material.certificates(file)
    crl = x509.load_der_x509_crl(latin(old.crl().public_bytes(Encoding.DER)))
    file.write_bytes(crl.public_bytes(Encoding.PEM))
    with pytest.raises(MaterialError, match=f"^{file}: the name in a certificate revocation list cannot be read"):
        material.crls(file)


@pytest.mark.parametrize("kind", ["certificates", "crls", "key"])
def test_files_that_hold_something_else(tmp_path: Path, ca: pki.Issuer, kind: str) -> None:
    def read(path: Path) -> object:
        if kind == "key":
            return material.private_key(path, None, None)
        return material.certificates(path) if kind == "certificates" else material.crls(path)

    file = tmp_path / "file"
    with pytest.raises(MaterialError, match=f"cannot read {file}: No such file"):
        read(file)
    file.write_text("nothing of the sort")
    with pytest.raises(MaterialError, match="holds no PEM"):
        read(file)
    file.write_bytes(ca.certificate.public_bytes(Encoding.DER))
    with pytest.raises(
        MaterialError,
        match=r"it is DER, by the looks of it: convert it with openssl (x509|crl|pkey) -inform DER -in FILE",
    ):
        read(file)
    for armour in ("CERTIFICATE", "X509 CRL", "PRIVATE KEY"):
        with file.open("a") as output:
            output.write(f"\n-----BEGIN {armour}-----\nMAA=\n-----END {armour}-----\n")
    with pytest.raises(MaterialError, match="damaged"):
        read(file)


def test_other_forms_of_certificates_are_named_with_what_converts_them(tmp_path: Path, ca: pki.Issuer) -> None:
    file = tmp_path / "ca.pem"

    def said(data: bytes) -> str:
        file.write_bytes(data)
        with pytest.raises(MaterialError) as caught:
            material.certificates(file)
        return str(caught.value).removeprefix(f"{file} holds no PEM certificate; ")

    pem = pki.pem(ca.certificate)
    into = "-in FILE -out NEWFILE"
    armoured, der = (pkcs7.serialize_certificates([ca.certificate], each) for each in (Encoding.PEM, Encoding.DER))
    assert said(b"Bag\n" + armoured) == f"it is PKCS#7: convert it with openssl pkcs7 -print_certs {into}"
    assert said(der) == f"it is PKCS#7 in DER: convert it with openssl pkcs7 -print_certs -inform DER {into}"
    bag = pkcs12.serialize_key_and_certificates(b"x", ca.key, ca.certificate, None, NoEncryption())
    assert said(bag) == f"it is PKCS#12: convert it with openssl pkcs12 {into}"
    trusted = pem.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    for data in (trusted, pem + trusted):  # beside another it would not be missed at once
        assert f"TRUSTED CERTIFICATE: convert it with openssl x509 {into}" in said(data)
    assert said(pki.key_pem(ca.key)) == "it holds PRIVATE KEY"


def test_the_old_label_of_certificates(tmp_path: Path, ca: pki.Issuer) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(pki.pem(ca.certificate).replace(b" CERTIFICATE", b" X509 CERTIFICATE"))
    assert material.certificates(file) == (ca.certificate,)


@pytest.mark.parametrize(
    "key", [pki.ec_key(), pki.rsa_key(), pki.ed25519.Ed25519PrivateKey.generate()], ids=["ec", "rsa", "ed"]
)
def test_plain_key(tmp_path: Path, key: pki.PrivateKey) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pki.key_pem(key))
    assert material.private_key(file, None, None).public_key() == key.public_key()
    assert material.private_key(file, Secret("env", "UNSET"), None).public_key() == key.public_key()


def test_key_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    key = dsa.generate_private_key(1024)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(MaterialError, match="expected an RSA, EC, Ed25519 or Ed448 key"):
        material.private_key(file, None, None)


@pytest.mark.parametrize("format_", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_passphrase_from_a_secret(tmp_path: Path, ca: pki.Issuer, format_: PrivateFormat) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    file = tmp_path / "key.pem"
    file.write_bytes(ca.key.private_bytes(Encoding.PEM, format_, BestAvailableEncryption(b"right")))
    key = material.private_key(file, RIGHT, None, environ={"PASS": "right"})
    assert key.public_key() == ca.key.public_key()
    with pytest.raises(MaterialError, match=f"the passphrase does not open {file}") as caught:
        material.private_key(file, RIGHT, None, environ={"PASS": "hunter2secret"})
    assert "hunter2secret" not in str(caught.value)
    with pytest.raises(MaterialError, match="its passphrase cannot be read: the environment variable PASS is not set"):
        material.private_key(file, RIGHT, None, environ={})


def test_nobody_to_ask(tmp_path: Path, ca: pki.Issuer) -> None:
    with pytest.raises(MaterialError, match=r"no terminal to ask at; set ca\[0\].key_passphrase"):
        material.private_key(encrypted(tmp_path, ca), None, None, setting="ca[0].key_passphrase")


def test_asked_until_it_fits(tmp_path: Path, ca: pki.Issuer) -> None:
    answers = iter(["wrong", "", "right"])
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return next(answers)

    file = encrypted(tmp_path, ca)
    assert material.private_key(file, None, ask).public_key() == ca.key.public_key()
    assert prompts == [f"Passphrase of {file}{part}: " for part in ("", " (try 2 of 3)", " (try 3 of 3)")]


def test_asked_three_times_only(tmp_path: Path, ca: pki.Issuer) -> None:
    answers = iter(["a", "b", "c"])
    with pytest.raises(MaterialError, match="the passphrase does not open"):
        material.private_key(encrypted(tmp_path, ca), None, lambda _: next(answers))
    assert list(answers) == []


def test_a_remembered_answer_serves_a_second_reading(tmp_path: Path, ca: pki.Issuer) -> None:
    answers = iter(["wrong", "right"])
    ask = cache(lambda _: next(answers))
    file = encrypted(tmp_path, ca)
    assert material.private_key(file, None, ask).public_key() == material.private_key(file, None, ask).public_key()


def test_never_asked_when_a_secret_is_configured(tmp_path: Path, ca: pki.Issuer) -> None:
    with pytest.raises(MaterialError, match="does not open"):
        material.private_key(encrypted(tmp_path, ca), RIGHT, lambda _: "right", environ={"PASS": "wrong"})
