"""A device that speaks EST, with nothing but Python's own TLS and HTTP: what it shows is what the wire carries."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kipuka.cli.demo.site import ADDRESS, USER, Site, key_pem, write

_TIMEOUT = 30.0
"""Seconds for one answer."""
_MAX_ANSWER = 1 << 20
"""Bytes."""


class StepFailed(Exception):  # noqa: N818 - what it says is what happened
    """The server's answer is not the one of this step; the text says what it was."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes

    def certificates(self) -> list[x509.Certificate]:
        """Open the certs-only message (RFC 7030 §4.1.3, §4.2.3).

        :raises StepFailed: it is none.
        """
        if self.status != 200:
            raise StepFailed(f"the server answered {self.status}: {self.body[:300].decode('utf-8', 'replace').strip()}")
        try:
            certificates = pkcs7.load_der_pkcs7_certificates(base64.b64decode(self.body))
        except ValueError as error:
            raise StepFailed(f"the answer is no base64 PKCS #7: {error}") from None
        if not certificates:
            raise StepFailed("there is no certificate in the answer")
        return certificates


@dataclass(frozen=True)
class Identity:
    """Where a device keeps a certificate and its key."""

    certificate: Path
    key: Path


class Device:
    """One device at one server, with a folder to keep its keys and certificates in."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder = site.folder / "device"
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def get(self, operation: str) -> Answer:
        """GET an EST operation, without credentials."""
        return self._exchange("GET", operation, {}, None, None)

    def enroll(self, csr: x509.CertificateSigningRequest) -> Answer:
        """POST /simpleenroll (RFC 7030 §4.2.1), with the user's name and password."""
        credentials = f"{USER}:{self._site.password.read_text('utf-8').strip()}".encode()
        return self._post("simpleenroll", csr, {"Authorization": "Basic " + base64.b64encode(credentials).decode()})

    def reenroll(self, csr: x509.CertificateSigningRequest, identity: Identity) -> Answer:
        """POST /simplereenroll (RFC 7030 §4.2.2), with a certificate in the TLS handshake."""
        return self._post("simplereenroll", csr, {}, identity)

    def keep(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Identity:
        """Store a certificate and its key."""
        identity = Identity(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        write(identity.certificate, certificate.public_bytes(Encoding.PEM))
        write(identity.key, key_pem(key), secret=True)
        return identity

    def _post(
        self,
        operation: str,
        csr: x509.CertificateSigningRequest,
        headers: Mapping[str, str],
        identity: Identity | None = None,
    ) -> Answer:
        body = base64.encodebytes(csr.public_bytes(Encoding.DER))
        return self._exchange("POST", operation, {"Content-Type": "application/pkcs10", **headers}, body, identity)

    def _exchange(
        self, method: str, operation: str, headers: Mapping[str, str], body: bytes | None, identity: Identity | None
    ) -> Answer:
        context = ssl.create_default_context(cafile=self._site.ca)
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        connection = http.client.HTTPSConnection(ADDRESS, self._site.port, timeout=_TIMEOUT, context=context)
        try:
            connection.request(method, f"/.well-known/est/{operation}", body, dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheader("Content-Type", "no content type"), answer.read(_MAX_ANSWER))
        except http.client.HTTPException as error:
            raise StepFailed(f"the answer is no HTTP: {error!r}") from None
        finally:
            connection.close()


def request(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateSigningRequest:
    """Make a CSR for a device of this name, signed with its key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(key, hashes.SHA256())
