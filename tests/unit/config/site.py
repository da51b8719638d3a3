"""A directory with all files that a configuration names, and a configuration that names them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.config.inspect import inspect
from kipuka.config.load import parse
from kipuka.tls import trial
from tests.support import pki

CONFIG = """
[server]
listen = ["localhost:8443", "127.0.0.1:8444", "systemd:est"]
[tls]
cert = "server.pem"
key = "server-key.pem"
[tls.client_auth]
trust_anchors = ["ca.pem", "other.pem"]
crl = "crl.pem"
[[ca]]
id = "local"
cert = "sub.pem"
key = "sub-key.pem"
chain = "ca.pem"
[[ca]]
id = "dogtag"
type = "dogtag"
url = "https://dogtag.example.com"
agent_cert = "agent.pem"
agent_key = "agent-key.pem"
ca_cert = "ca.pem"
profile = "x"
[est]
users = "users"
"""
DAY = timedelta(days=1)
PAST, FUTURE = pki.NOW - DAY, pki.NOW + DAY


@dataclasses.dataclass
class Site:
    """A directory where everything is as it should be, and the means to spoil it."""

    folder: Path
    ca: pki.Issuer
    sub: pki.Issuer
    other: pki.Issuer

    def file(self, name: str) -> Path:
        return self.folder / name

    def crls(self, *crls: x509.CertificateRevocationList) -> None:
        self.file("crl.pem").write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in crls))

    def certificate(self, name: str, *certificates: x509.Certificate) -> None:
        self.file(name).write_bytes(pki.pem(*certificates))

    def faults(self, text: str = CONFIG, ask: Callable[[str], str] | None = None, **environ: str) -> list[str]:
        config = parse(text, self.folder)
        return [str(fault) for fault in inspect(config, pki.NOW, trial, ask=ask, environ=environ)]
