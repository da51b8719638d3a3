"""What the tests of requests at the lab share: the CA as kipuka sees it, and a submission that waits for no answer."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kipuka.authority.dogtag import DogtagAuthority, wire
from kipuka.tls.client import ClientPolicy
from tests.dogtag.lab_export import Account, Lab

MANUAL = "kipukaServerManual"


def authority(reactor: Any, lab: Lab, url: str, account: Account | None = None) -> DogtagAuthority:
    """Return the CA at the URL; the caller closes it."""
    account = account or lab.agent
    policy = ClientPolicy(
        x509.load_pem_x509_certificates(lab.ca_chain.read_bytes()),
        x509.load_pem_x509_certificates(account.certificate.read_bytes()),
        serialization.load_pem_private_key(account.key.read_bytes(), None),
    )
    return DogtagAuthority.open(reactor, id="lab", url=url, policy=policy, profile="kipukaServer")


def key(source: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return the public key in the form in which it is looked up."""
    digest = wire.key_digest(source)
    assert digest is not None
    return digest


def submit_and_hang_up(lab: Lab, csr: x509.CertificateSigningRequest, profile: str) -> None:
    """Submit, and close the connection in good order without reading. Blocks until the request is sent."""
    der = csr.public_bytes(serialization.Encoding.DER)
    values = {"cert_request_type": "pkcs10", "cert_request": base64.b64encode(der).decode()}
    fields = [{"name": name, "Value": value} for name, value in values.items()]
    body = json.dumps({"ProfileID": profile, "Renewal": False, "Input": [{"id": "i1", "Attribute": fields}]}).encode()
    address = urlsplit(lab.url)
    head = (
        f"POST /ca/rest/certrequests HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    context = ssl.create_default_context(cafile=lab.ca_chain)
    context.load_cert_chain(lab.agent.certificate, lab.agent.key)
    with (
        socket.create_connection((address.hostname or "", address.port or 443), 20) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as connection,
    ):
        connection.sendall(head.encode() + body)
