"""The demo's folder: CA, server certificate, user and configuration, made once and used again while they are good."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kipuka.access.credentials.users import Users, UsersFileError, hash_password
from kipuka.cli import CommandError
from kipuka.config.inspect import inspect
from kipuka.config.load import ConfigFaults, load
from kipuka.errors import RequestError
from kipuka.tls import trial

ADDRESS = "127.0.0.1"
USER = "demo-user"
_VALIDITY = timedelta(days=90)
_BACKDATED = timedelta(minutes=5)
_MARK = "# Made by kipuka demo, and written anew each time it runs."

_CONFIG = """\
{mark}

[server]
listen = "{address}:{port}"

[tls]
cert = "server.pem"
key = "server-key.pem"

[tls.client_auth]
# Devices come back with the certificates that the CA below gave them.
trust_anchors = "ca.pem"

[[ca]]
id = "demo-ca"
type = "file"
cert = "ca.pem"
key = "ca-key.pem"
validity_days = 30

[est]
users = "users"
"""


@dataclass(frozen=True)
class Site:
    """A folder that holds everything a demo needs.

    :param reused: whether CA and user are those of an earlier demo.
    """

    folder: Path
    port: int
    reused: bool = False

    @property
    def base_url(self) -> str:
        """What all of EST's paths begin with (RFC 7030 §3.2.2). The address is no name: not every system knows one."""
        return f"https://{ADDRESS}:{self.port}/.well-known/est"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "kipuka.toml"

    @property
    def ca(self) -> Path:
        """The CA's certificate, which is also what a device trusts the server by."""
        return self.folder / "ca.pem"

    @property
    def password(self) -> Path:
        """The file with the user's password in clear, which only a demo has."""
        return self.folder / "password"

    @property
    def users(self) -> Path:
        """The users file, with the password's hash."""
        return self.folder / "users"

    @property
    def log(self) -> Path:
        """What the daemon writes to standard output and standard error."""
        return self.folder / "kipuka.log"


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """Make the folder, or take that of an earlier demo, and keep a second demo out of it.

    :raises CommandError: there is something else, or a demo that runs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = "there is a file of that name" if isinstance(error, FileExistsError) else error.strerror
        raise CommandError(f"cannot use {folder}: {reason}; name another folder with --dir") from None
    try:
        _lock(descriptor, folder)
        if not _is_ours(folder):
            raise CommandError(
                f"{folder} holds something else than a demo, and nothing in it was touched; "
                "name an empty or a new folder with --dir"
            )
        yield folder
    finally:
        os.close(descriptor)


def prepare(folder: Path, port: int, now: datetime) -> Site:
    """Write what is missing or no longer good, and the configuration in any case.

    :raises CommandError: a file cannot be written.
    """
    site = Site(folder, port)
    try:
        # First of all, because it marks the folder: a demo that is interrupted here can be taken up again.
        site.config.write_text(_CONFIG.format(mark=_MARK, address=ADDRESS, port=port), "utf-8")
        if _is_good(site, now):
            return Site(folder, port, reused=True)
        _make(site, now)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}") from None
    return site


def write(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Write a file that, when it is secret, nobody else can read at any moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as PEM, in clear."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"a demo is running in {folder}; end it, or name another folder with --dir") from None


def _is_ours(folder: Path) -> bool:
    if not any(folder.iterdir()):
        return True
    try:
        with (folder / "kipuka.toml").open(encoding="utf-8", errors="replace") as file:
            return file.readline(len(_MARK) + 1).rstrip("\n") == _MARK
    except OSError:
        return False


def _is_good(site: Site, now: datetime) -> bool:
    """Tell whether the daemon would start with what is there, now and for another day, and let the user in."""
    try:
        config = load(site.config)
        Users.parse(site.users.read_text("utf-8")).verify(USER, site.password.read_text("utf-8").strip())
    except (ConfigFaults, UsersFileError, RequestError, OSError, UnicodeDecodeError):
        return False
    return not inspect(config, now, trial) and not inspect(config, now + timedelta(days=1), trial)


def _make(site: Site, now: datetime) -> None:
    key, ca = _authority(now)
    write(site.ca, ca.public_bytes(Encoding.PEM))
    write(site.folder / "ca-key.pem", key_pem(key), secret=True)
    server_key, server = _server(key, ca, now)
    write(site.folder / "server.pem", server.public_bytes(Encoding.PEM))
    write(site.folder / "server-key.pem", key_pem(server_key), secret=True)
    password = secrets.token_urlsafe(18)
    write(site.password, f"{password}\n".encode(), secret=True)
    write(site.users, f"{USER}:{hash_password(password)}\n".encode(), secret=True)


def _authority(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Make a root whose name says what it is good for, should it ever be found in a trust store."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kipuka demo"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Throwaway CA {secrets.token_hex(4)}"),
        ]
    )
    builder = _builder(name, name, key.public_key(), now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_ca=True), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def _server(
    ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(ADDRESS))])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = _builder(subject, ca.subject, key.public_key(), now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(is_ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(issuer_key, critical=False)
    return key, builder.sign(ca_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - _BACKDATED).not_valid_after(now + _VALIDITY)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
