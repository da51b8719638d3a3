"""The TLS side of the EST listener."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from OpenSSL import SSL

from kipuka.authority.interface import Authority
from kipuka.authority.local import LocalAuthority
from kipuka.authority.local.revocation import Revocation
from kipuka.config import material, model
from kipuka.observe import audit
from kipuka.tls.server import ClientCertificates, RefusedCertificate, ServerConnections, ServerMaterial
from kipuka.web.crl import Crl

Ask = Callable[[str], str]


def server_material(tls: model.Tls, ask: Ask | None) -> ServerMaterial:
    """Load what the listener's context is made of.

    :raises MaterialError: a file of it cannot be used.
    """
    clients = tls.client_auth
    return ServerMaterial(
        material.certificates(tls.cert),
        material.private_key(tls.key, tls.key_passphrase, ask),
        SSL.TLS1_3_VERSION if tls.min_version == "1.3" else SSL.TLS1_2_VERSION,
        ClientCertificates(clients.mode),
        tuple(anchor for path in clients.trust_anchors for anchor in material.certificates(path)),
        tuple(crl for path in clients.crl for crl in material.crls(path)),
    )


def crls(authorities: Iterable[Authority], connections: ServerConnections) -> dict[str, Callable[[], Crl | None]]:
    """Have the listener honour the CRLs of the file CAs, and return where to find what /crl serves, by CA."""
    local = [each for each in authorities if isinstance(each, LocalAuthority)]
    for each in local:
        each.revocation.tell(partial(connections.honour, each.id))
    return {each.id: partial(_current, each.revocation) for each in local}


def _current(revocation: Revocation) -> Crl | None:
    current = revocation.published
    return None if current is None else Crl(current.number, current.der, current.parsed.last_update_utc)


def audit_refused(refused: RefusedCertificate) -> None:
    """Record a client certificate that was refused in the handshake."""
    audit.to_log(
        "client certificate refused",
        {
            "address": refused.address,
            "reason": refused.reason,
            "errno": refused.errno,
            "depth": refused.depth,
            "subject": refused.subject,
            "serial": f"0x{refused.serial:x}",
        },
    )
