"""A device at the EST operations of a world of fakes: what it asks, and what it reads out of answers."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7

from tests.support import pki
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, Answer, Client


def certificates(answer: Answer) -> list[x509.Certificate]:
    assert answer.status == 200, answer
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))


def spki(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def enroll(client: Client, csr: x509.CertificateSigningRequest, path: str = "/simpleenroll", **fields: str) -> Answer:
    return client.post(EST + path, body(csr), **{"authorization": basic()} | fields)


class Renewing:
    """A device with a certificate of the main CA, and its requests for the next one."""

    def __init__(self, world: World, subject: str = "CN=device-1,O=Example", *names: str) -> None:
        self.world = world
        self.key = pki.ec_key()
        self.alternative = pki.san(*names) if names else None
        self.subject = subject
        self.identity = world.main.issuer.client(subject, self.alternative, key=self.key)

    def ask(self, csr: x509.CertificateSigningRequest, path: str = "/simplereenroll", **fields: str) -> Answer:
        return self.world.client(self.identity.certificate).post(EST + path, body(csr), **fields)
