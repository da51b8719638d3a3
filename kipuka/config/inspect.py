"""What stands behind the words of a configuration: files, keys, certificates, CRLs, users (``kipuka check``).

Nothing is sent anywhere: whether a CA answers is another question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from kipuka.access.credentials.tokens import Tokens, TokensFileError
from kipuka.access.credentials.users import Users, UsersFileError
from kipuka.config import material
from kipuka.config.administrators import own_makers, readable, unnamed_makers
from kipuka.config.certificates import (
    check_ca,
    check_chain,
    check_crl,
    check_key,
    check_leaf,
    check_names,
    check_padding,
    check_validity,
    may_sign_crls,
    name_of,
    public_key,
)
from kipuka.config.faults import Fault
from kipuka.config.model import Config, DogtagCa, FileCa, TcpAddress
from kipuka.config.secret import Secret
from kipuka.observe.audit.file import AuditUnavailable, check_end

T = TypeVar("T")
Certificates = tuple[x509.Certificate, ...]


class Trial(Protocol):
    """What TLS has against certificates and their key, in words: :mod:`kipuka.tls.trial`."""

    def server(self, chain: Certificates, key: material.PrivateKey, /) -> Iterable[str]:
        """Where kipuka is the server."""

    def client(self, chain: Certificates, key: material.PrivateKey, /) -> Iterable[str]:
        """Where kipuka is the client."""


def inspect(
    config: Config,
    now: datetime,
    trial: Trial,
    *,
    ask: Callable[[str], str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Fault, ...]:
    """Look at everything the configuration names.

    :param now: an aware time; certificates and CRLs must be valid at it.
    :param trial: tries certificates and keys in TLS.
    :param ask: asks a person for a passphrase that is not configured; None when nobody is there.
    """
    inspection = _Inspection(now, trial, ask, environ)
    inspection.server(config)
    inspection.clients(config)
    for position, ca in enumerate(config.ca):
        if isinstance(ca, FileCa):
            inspection.file_ca(f"ca[{position}]", ca)
        elif isinstance(ca, DogtagCa):
            inspection.dogtag_ca(f"ca[{position}]", ca)
    if config.est.users is not None:
        inspection.users(config.est.users)
    inspection.labels(config)
    inspection.admin(config)
    inspection.database(config.db.url)
    if config.audit.file is not None:
        inspection.audit(config.audit.file, _sqlite_file(config.db.url))
    return tuple(inspection.faults)


class _Inspection:
    """Collects faults; each method looks at one part."""

    def __init__(
        self, now: datetime, trial: Trial, ask: Callable[[str], str] | None, environ: Mapping[str, str]
    ) -> None:
        self.now = now
        self.trial = trial
        self.ask = ask
        self.environ = environ
        self.faults: list[Fault] = []
        self._names: dict[bytes, tuple[str, x509.Name]] = {}

    def server(self, config: Config) -> None:
        tls = config.tls
        chain = self._load("tls.cert", material.certificates, tls.cert)
        key = self._key("tls.key", tls.key, tls.key_passphrase, chain)
        if chain:
            if key is not None:
                self._note("tls.cert", self.trial.server(chain, key))
            self._note("tls.cert", check_chain(chain, self.now))
            self._note("tls.cert", check_leaf(chain[0], ExtendedKeyUsageOID.SERVER_AUTH))
            listen = [*config.server.listen, *(config.admin.listen or ())]
            hosts = [each.host for each in listen if isinstance(each, TcpAddress) and not each.is_ip]
            self._note("tls.cert", check_names(chain[0], hosts))

    def clients(self, config: Config) -> None:
        client_auth = config.tls.client_auth
        anchors: list[x509.Certificate] = []
        for path in client_auth.trust_anchors:
            for anchor in self._load("tls.client_auth.trust_anchors", material.certificates, path):
                anchors.append(anchor)
                self._note("tls.client_auth.trust_anchors", check_ca(anchor))
                self._note("tls.client_auth.trust_anchors", check_validity(anchor, self.now))
        # On a port of their own administrators' certificates are checked by themselves, with the same list of CRLs.
        apart = () if config.admin_shares_port else config.admin.trust_anchors
        self._crls(client_auth.crl, (anchors, list(readable(apart))), set(_crl_issuers(config)))

    def _crls(
        self, paths: Sequence[Path], listeners: Sequence[Sequence[x509.Certificate]], own: set[x509.Name]
    ) -> None:
        key = "tls.client_auth.crl"
        files = [self._load(key, material.crls, path) for path in paths]
        crls = [crl for file in files for crl in file]
        for crl in crls:
            self._note(key, check_crl(crl, [anchor for anchors in listeners for anchor in anchors], self.now))
        if not all(files):
            return  # what the unreadable one covers is not known
        named = {crl.issuer for crl in crls}
        for anchors in listeners:
            names = dict.fromkeys(anchor.subject for anchor in anchors)
            for name in names if named & names.keys() else ():
                if name in named | own:
                    continue
                text = (
                    f"there is no CRL of {name_of(name)}, so all its clients would be refused; add one, or drop the CA"
                )
                self.faults.append(Fault(key, text))

    def file_ca(self, where: str, ca: FileCa) -> None:
        own = self._load(f"{where}.cert", material.certificates, ca.cert)
        self._key(f"{where}.key", ca.key, ca.key_passphrase, own)
        chain = own + (self._load(f"{where}.chain", material.certificates, ca.chain) if ca.chain else ())
        if not own:
            return
        key = public_key(own[0])
        if key is None:
            text = f"the key of the certificate {name_of(own[0].subject)} is of a kind that kipuka does not know"
            self.faults.append(Fault(f"{where}.cert", f"{text}; take a CA with an RSA, EC, Ed25519 or Ed448 key"))
            return
        self._note(f"{where}.cert", check_padding(own[0]))
        # One key has one book and one CRL, which has one issuer's name in it.
        other, name = self._names.setdefault(key, (where, own[0].subject))
        if name != own[0].subject:
            text = f"{name_of(own[0].subject)} has the key of {name_of(name)}, {other}; a key is one CA's"
            self.faults.append(Fault(f"{where}.cert", text))
        self._note(f"{where}.cert", check_ca(own[0]))
        self._note(f"{where}.chain" if ca.chain else f"{where}.cert", check_chain(chain, self.now, to_root=True))

    def dogtag_ca(self, where: str, ca: DogtagCa) -> None:
        self._agent(f"{where}.agent", ca.agent_cert, ca.agent_key, ca.agent_key_passphrase)
        if ca.kra_agent_cert is not None and ca.kra_agent_key is not None:
            self._agent(f"{where}.kra_agent", ca.kra_agent_cert, ca.kra_agent_key, ca.kra_agent_key_passphrase)
        for certificate in self._load(f"{where}.ca_cert", material.certificates, ca.ca_cert):
            self._note(f"{where}.ca_cert", check_ca(certificate))
            self._note(f"{where}.ca_cert", check_validity(certificate, self.now))

    def _agent(self, setting: str, certificate: Path, key: Path, passphrase: Secret | None) -> None:
        agent = self._load(f"{setting}_cert", material.certificates, certificate)
        own = self._key(f"{setting}_key", key, passphrase, agent)
        if agent:
            if own is not None:
                self._note(f"{setting}_cert", self.trial.client(agent, own))
            self._note(f"{setting}_cert", check_chain(agent, self.now))
            self._note(f"{setting}_cert", check_leaf(agent[0], ExtendedKeyUsageOID.CLIENT_AUTH))

    def users(self, path: Path) -> None:
        self._lines("est.users", path, Users.parse)

    def labels(self, config: Config) -> None:
        known = set(readable(config.tls.client_auth.trust_anchors))
        for position, label in enumerate(config.est.label):
            key = f"est.label[{position}].trust_anchors"
            for path in label.trust_anchors or ():
                for anchor in self._load(key, material.certificates, path):
                    if anchor not in known:
                        text = f"{name_of(anchor.subject)} is not among tls.client_auth.trust_anchors; add it there"
                        self.faults.append(Fault(key, f"{text}, or the handshake refuses its clients"))

    def admin(self, config: Config) -> None:
        key = "admin.trust_anchors"
        if config.admin.tokens is not None:
            self._lines("admin.tokens", config.admin.tokens, Tokens.parse)
        known = set(readable(config.tls.client_auth.trust_anchors))
        asked = config.tls.client_auth.mode != "none"
        if config.admin.trust_anchors and config.admin_shares_port and not asked:
            text = (
                'with tls.client_auth.mode = "none" the EST port asks nobody for a certificate; set another mode, or '
                "give the admin API a port of its own (admin.listen)"
            )
            self.faults.append(Fault(key, text))
        for path in config.admin.trust_anchors:
            for anchor in self._load(key, material.certificates, path):
                self._note(key, check_ca(anchor))
                self._note(key, check_validity(anchor, self.now))
                if config.admin_shares_port and asked and anchor not in known:
                    text = (
                        f"{name_of(anchor.subject)} is not among tls.client_auth.trust_anchors, by which the EST port "
                        "checks client certificates; add it there, or give the admin API a port of its own "
                        "(admin.listen)"
                    )
                    self.faults.append(Fault(key, text))

        if config.admin.subjects is None:
            for ca_id in own_makers(config):
                text = (
                    f'whoever enrolls with the CA "{ca_id}" would be an administrator; name the subjects of the '
                    "administrators in admin.subjects, or take a CA that issues to administrators only"
                )
                self.faults.append(Fault(key, text))
            for ca in unnamed_makers(config) if config.admin_shares_port else ():
                text = (
                    f"{name_of(ca.subject)}, in tls.client_auth.trust_anchors, is below these, so whoever has a "
                    "certificate of it would be an administrator; if so it is meant, name it here, too, or else name "
                    "the subjects of the administrators in admin.subjects"
                )
                self.faults.append(Fault(key, text))

    def _lines(self, key: str, path: Path, parse: Callable[[str], object]) -> None:
        """Read a file of credentials, one a line."""
        try:
            parse(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.faults.append(Fault(key, f"cannot read {path}: {error.strerror}"))
        except UnicodeDecodeError:
            self.faults.append(Fault(key, f"{path} is not UTF-8 text"))
        except (UsersFileError, TokensFileError) as error:
            self._note(key, (f"{path}, {fault}" for fault in error.faults))

    def database(self, url: str) -> None:
        file = _sqlite_file(url)
        if file is None:
            if find_spec("psycopg") is None:
                text = 'PostgreSQL needs psycopg 3: install Debian\'s python3-psycopg, or "kipuka[postgres]" and libpq'
                self.faults.append(Fault("db.url", text))
            return
        # SQLite writes companions beside the file, so a writable file is not enough.
        if not file.parent.is_dir():
            self.faults.append(Fault("db.url", f"there is no directory {file.parent}; make it, or name another"))
        elif not os.access(file.parent, os.W_OK | os.X_OK):
            self.faults.append(Fault("db.url", f"the directory {file.parent} cannot be written; name another"))
        elif file.exists() and not (file.is_file() and os.access(file, os.R_OK | os.W_OK)):
            self.faults.append(Fault("db.url", f"{file} is not a file that can be read and written"))

    def audit(self, file: Path, database: Path | None) -> None:
        key = "audit.file"
        if database is not None and file.resolve() == database.resolve():  # which need not be there yet
            self.faults.append(Fault(key, f"{file} is the file of the database, db.url; name another"))
        elif not file.parent.is_dir():
            self.faults.append(Fault(key, f"there is no directory {file.parent}; make it, or name another"))
        elif file.exists():
            if not (file.is_file() and os.access(file, os.R_OK | os.W_OK)):
                self.faults.append(Fault(key, f"{file} is not a file that can be read and written"))
                return
            try:
                check_end(file)
            except AuditUnavailable as unavailable:
                self.faults.append(Fault(key, str(unavailable)))
            except OSError as error:
                self.faults.append(Fault(key, f"cannot read {file}: {error.strerror}"))
        elif not os.access(file.parent, os.W_OK | os.X_OK):
            self.faults.append(Fault(key, f"the directory {file.parent} cannot be written; name another"))

    def _load(self, key: str, reader: Callable[[Path], tuple[T, ...]], path: Path) -> tuple[T, ...]:
        """Read a file; empty when that failed, which is a fault then."""
        try:
            return reader(path)
        except material.MaterialError as error:
            self.faults.append(Fault(key, str(error)))
            return ()

    def _key(
        self, setting: str, path: Path, passphrase: Secret | None, certificates: Certificates
    ) -> material.PrivateKey | None:
        """Read a key and hold it against its certificate; None unless the two belong together."""
        try:
            key = material.private_key(
                path, passphrase, self.ask, setting=f"{setting}_passphrase", environ=self.environ
            )
        except material.MaterialError as error:
            self.faults.append(Fault(setting, str(error)))
            return None
        mismatch = list(check_key(certificates[0], key)) if certificates else []
        self._note(setting, mismatch)
        return key if certificates and not mismatch else None

    def _note(self, key: str, texts: Iterable[str]) -> None:
        self.faults += [Fault(key, text) for text in texts]


def _sqlite_file(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def _crl_issuers(config: Config) -> Iterator[x509.Name]:
    """The file CAs, which publish CRLs themselves; one that cannot be read is a fault of its own."""
    for ca in config.ca:
        if isinstance(ca, FileCa):
            with suppress(material.MaterialError):
                certificate = material.certificates(ca.cert)[0]
                if may_sign_crls(certificate):
                    yield certificate.subject
