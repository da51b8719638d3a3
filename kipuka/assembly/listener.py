"""The TLS side of the EST listener."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from OpenSSL import SSL

from kipuka.config import material, model
from kipuka.tls.server import ClientCertificates, ServerMaterial

Ask = Callable[[str], str]


def server_material(tls: model.Tls, ask: Ask | None) -> ServerMaterial:
    """Load what the listener's context is made of.

    :raises MaterialError: a file of it cannot be used.
    """
    clients = tls.client_auth
    anchors = tuple(anchor for path in clients.trust_anchors for anchor in material.certificates(path))
    names = {anchor.subject for anchor in anchors}
    return ServerMaterial(
        material.certificates(tls.cert),
        material.private_key(tls.key, tls.key_passphrase, ask),
        SSL.TLS1_3_VERSION if tls.min_version == "1.3" else SSL.TLS1_2_VERSION,
        ClientCertificates(clients.mode),
        anchors,
        tuple(crl for crl in crls(tls) if crl.issuer in names),  # others are for administrators
    )


def crls(tls: model.Tls) -> tuple[x509.CertificateRevocationList, ...]:
    """All CRLs of the configuration.

    :raises MaterialError: a file of them cannot be used.
    """
    return tuple(crl for path in tls.client_auth.crl for crl in material.crls(path))
