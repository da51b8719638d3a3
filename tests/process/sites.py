"""A local CA, its devices and a configuration file for a real daemon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import bcrypt

from tests.process.client import Tls
from tests.support import pki
from tests.support.daemon import free_port

ALICE = ("alice", "correct horse: battery")
DAY = timedelta(days=1)
CA_EXTENSIONS = (pki.x509.BasicConstraints, pki.x509.KeyUsage)


class Site:
    """Files of one installation below ``folder``; ``config`` is written by :meth:`write`."""

    def __init__(self, folder: Path, *, below_a_root: bool = False) -> None:
        self.folder = folder
        self.root = pki.root("CN=Process Root")
        (folder / "root.pem").write_bytes(pki.pem(self.root.certificate))
        self.ca = self.root.intermediate("CN=Process CA") if below_a_root else pki.root("CN=Process CA")
        self._chain = {"chain": "root.pem"} if below_a_root else {}
        self.maker = pki.root("CN=Maker CA")
        self.tls_root = pki.root("CN=TLS Root")
        self.revoked = self.ca.client("CN=revoked")
        self.lapsed = self._lapsed()
        self.ca.write(folder, "ca")
        self.tls_root.server().write(folder, "tls")
        (folder / "tls-root.pem").write_bytes(pki.pem(self.tls_root.certificate))
        (folder / "maker.pem").write_bytes(pki.pem(self.maker.certificate))
        crls = [self.ca.crl([self.revoked.certificate]), self.maker.crl()]
        (folder / "crls.pem").write_bytes(b"".join(crl.public_bytes(pki.serialization.Encoding.PEM) for crl in crls))
        # The cheapest hash there is: what passwords cost is not the subject here.
        hashed = bcrypt.hashpw(ALICE[1].encode(), bcrypt.gensalt(4)).decode()
        (folder / "users").write_text(f"{ALICE[0]}:{hashed}\n")
        self.config = folder / "kipuka.toml"
        self.port = free_port()

    def _lapsed(self) -> pki.Issuer:
        """A CA below the local one whose own certificate has expired."""
        key = pki.ec_key()
        extensions = self.ca.intermediate().certificate.extensions
        kept = [(each.value, each.critical) for each in extensions if isinstance(each.value, CA_EXTENSIONS)]
        return pki.Issuer(self.ca.certify(key, "CN=expired CA", extensions=kept, not_after=pki.NOW - DAY), key)

    def write(
        self,
        server: Mapping[str, object] | None = None,
        tls: Mapping[str, object] | None = None,
        client_auth: Mapping[str, object] | None = None,
        admin: Mapping[str, object] | None = None,
        audit: Mapping[str, object] | None = None,
    ) -> Path:
        """Write the configuration; the arguments add to its tables, or replace keys in them."""
        tables: dict[str, Mapping[str, object]] = {
            "[server]": {"listen": f"127.0.0.1:{self.port}"} | dict(server or {}),
            "[tls]": {"cert": "tls.pem", "key": "tls-key.pem"} | dict(tls or {}),
            "[tls.client_auth]": {"trust_anchors": ["ca.pem", "maker.pem"]} | dict(client_auth or {}),
            "[[ca]]": {"id": "main", "cert": "ca.pem", "key": "ca-key.pem"} | self._chain,
            "[est]": {"users": "users"},
            "[[est.label]]": {"name": "linked", "ca_id": "main", "proof_of_possession": "required"},
        }
        if admin is not None:
            tables["[admin]"] = admin
        if audit is not None:
            tables["[audit]"] = audit
        lines: list[str] = []
        for header, keys in tables.items():
            lines += [header, *(f"{name} = {json.dumps(value)}" for name, value in keys.items()), ""]
        self.config.write_text("\n".join(lines))
        return self.config

    def device(self, subject: str = "CN=device-1") -> pki.Identity:
        """A client certificate of the local CA."""
        return self.ca.client(subject)

    def client(self, identity: pki.Identity | None = None) -> Tls:
        """How a client of this site connects."""
        return Tls(self.port, self.folder / "tls-root.pem", identity)
