"""Certificates, CRLs and private keys from PEM files, with errors an operator can act on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kipuka.config.secret import Secret, SecretError

PrivateKey = CertificateIssuerPrivateKeyTypes

_MAX_BYTES = 64 * 1024**2
"""A CRL of a big CA has some tens of megabytes; nothing here is larger."""
_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")
_TRUSTED = b"-----BEGIN TRUSTED CERTIFICATE-----"
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_OTHER_FORMS = (
    (re.compile(rb".*?-----BEGIN PKCS ?#?7", re.DOTALL), "PKCS#7", "pkcs7 -print_certs"),
    (
        re.compile(rb"\x30.{1,5}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", re.DOTALL),
        "PKCS#7 in DER",
        "pkcs7 -print_certs -inform DER",
    ),
    (re.compile(rb"\x30.{1,5}\x02\x01\x03\x30", re.DOTALL), "PKCS#12", "pkcs12"),
    (re.compile(rb"\x30"), "DER, by the looks of it", "{} -inform DER"),
)
"""What administrators have instead of PEM: how it begins, its name, openssl's arguments."""
_TRIES = 3


class MaterialError(Exception):
    """A file does not hold what it should; the text says which and what to do, and nothing of a key."""


class WrongPassphraseError(MaterialError):
    """The key is fine as far as can be seen, but the passphrase does not open it."""


def certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read every certificate of a PEM file, in the file's order.

    :raises MaterialError: unreadable, not PEM, no certificate in it, or one with a name that cannot be read.
    """
    data = _read(path)
    if _TRUSTED in data:  # among others it would be passed over in silence
        raise MaterialError(
            f"{path} holds a certificate in OpenSSL's own form, TRUSTED CERTIFICATE: convert it with openssl x509 "
            "-in FILE -out NEWFILE, each by itself"
        )
    if not _CERTIFICATE.search(data):
        raise MaterialError(f"{path} holds no PEM certificate{_hint(data, 'x509')}")
    try:
        found = tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise MaterialError(f"{path}: a certificate in it is damaged") from None
    _read_names(path, "certificate", (name for each in found for name in (each.subject, each.issuer)))
    return found


def all_certificates(paths: Iterable[Path]) -> tuple[x509.Certificate, ...]:
    """Read every certificate of several files.

    :raises MaterialError: see :func:`certificates`.
    """
    return tuple(certificate for path in paths for certificate in certificates(path))


def crls(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Read every CRL of a PEM file.

    :raises MaterialError: unreadable, not PEM, no CRL in it, or one with a name that cannot be read.
    """
    data = _read(path)
    blocks = _CRL.findall(data)
    if not blocks:
        raise MaterialError(f"{path} holds no PEM certificate revocation list{_hint(data, 'crl')}")
    try:
        found = tuple(x509.load_pem_x509_crl(each) for each in blocks)
    except ValueError:
        raise MaterialError(f"{path}: a certificate revocation list in it is damaged") from None
    _read_names(path, "certificate revocation list", (each.issuer for each in found))
    return found


def private_key(
    path: Path,
    passphrase: Secret | None,
    ask: Callable[[str], str] | None,
    *,
    setting: str = "key_passphrase",
    environ: Mapping[str, str] = os.environ,
) -> PrivateKey:
    """Read a private key (RSA, EC, Ed25519 or Ed448) from a PEM file.

    :param passphrase: where its passphrase is; not looked at when the key is not encrypted.
    :param ask: asks a person, given a prompt; used when there is no ``passphrase``. None: nobody is there. No two
        prompts are the same, so that a program that reads the key twice can ask once: ``functools.cache(ask)``.
    :param setting: the configuration key that would name the passphrase, for the error.
    :param environ: for ``env:`` and ``credential:`` secrets.
    :raises MaterialError: unreadable, not a private key, or its passphrase is missing or wrong.
    """
    data = _read(path)
    if b"PRIVATE KEY-----" not in data:
        raise MaterialError(f"{path} holds no PEM private key{_hint(data, 'pkey')}")
    try:
        return _decode(path, data, None)
    except TypeError:  # cryptography's word for "encrypted, and no passphrase was given"
        pass
    if passphrase is not None:
        try:
            secret = passphrase.reveal(environ)
        except SecretError as error:
            raise MaterialError(f"{path} is encrypted, and its passphrase cannot be read: {error}") from None
        return _decode(path, data, secret)
    if ask is None:
        raise MaterialError(
            f"{path} is encrypted, no passphrase is configured and there is no terminal to ask at; set {setting}"
        )
    for number in range(1, _TRIES):
        with suppress(WrongPassphraseError):
            return _decode(path, data, ask(_prompt(path, number)))
    return _decode(path, data, ask(_prompt(path, _TRIES)))


def _read_names(path: Path, kind: str, names: Iterator[x509.Name]) -> None:
    """Find out here, and not in the middle of something else, that a name is one that cryptography cannot read.

    It reads a name only when asked for it.
    """
    try:
        for _ in names:
            pass
    except ValueError:
        raise MaterialError(
            f"{path}: the name in a {kind} cannot be read; leave it out, or have it issued anew with its names in "
            "UTF8String"
        ) from None


def _prompt(path: Path, number: int) -> str:
    return f"Passphrase of {path}: " if number == 1 else f"Passphrase of {path} (try {number} of {_TRIES}): "


def _decode(path: Path, data: bytes, passphrase: str | None) -> PrivateKey:
    if passphrase == "":  # OpenSSL would take it for none at all
        raise WrongPassphraseError(f"an empty passphrase does not open {path}")
    password = passphrase.encode() if passphrase is not None else None
    try:
        key = load_pem_private_key(data, password)
    except UnsupportedAlgorithm:
        raise MaterialError(f"{path} is of a kind, or encrypted in a way, that OpenSSL does not support here") from None
    except ValueError:
        if password is not None:
            raise WrongPassphraseError(f"the passphrase does not open {path}") from None
        raise MaterialError(f"{path}: the private key in it is damaged") from None
    if not isinstance(
        key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    ):
        raise MaterialError(f"{path}: expected an RSA, EC, Ed25519 or Ed448 key, found another kind")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise MaterialError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise MaterialError(f"{path} is larger than 64 MB")
    return data


def _hint(data: bytes, command: str) -> str:
    """Say what the file is, where that is known, and what to do.

    :param command: openssl's, for what should be in the file.
    """
    for looks, name, arguments in _OTHER_FORMS:
        if looks.match(data):
            return f"; it is {name}: convert it with openssl {arguments.format(command)} -in FILE -out NEWFILE"
    labels = dict.fromkeys(label.decode() for label in _LABEL.findall(data))
    return f"; it holds {', '.join(labels)}" if labels else ""
