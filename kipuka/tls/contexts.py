"""OpenSSL's settings for both ends of kipuka, made from certificates and keys. Nothing of Twisted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from OpenSSL import SSL, crypto

# RFC 9325 §4.2: forward secrecy and AEAD only. TLS 1.3 has no other suites.
_SERVER_SUITES = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

# Forward secrecy and AEAD only (RFC 9325 §4.2); DHE for CAs without EC. TLS 1.3 has no other suites.
_CLIENT_SUITES = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL"

_HTTP1 = b"http/1.1"


class ClientCertificates(Enum):
    """Whether a client shows a certificate: ``[tls.client_auth] mode``."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True)
class ServerMaterial:
    """What a listener's context is made of.

    :param chain: the server's certificate first, then its intermediates; a root among them is not sent.
    :param minimum: ``SSL.TLS1_2_VERSION`` or ``SSL.TLS1_3_VERSION`` (RFC 8996 leaves no other).
    :param trust_anchors: CAs whose certificates clients may show; they need not be roots.
    :param crls: when there are any, every client certificate must be covered by one of them.
    """

    chain: tuple[x509.Certificate, ...]
    key: CertificateIssuerPrivateKeyTypes
    minimum: int = SSL.TLS1_2_VERSION
    clients: ClientCertificates = ClientCertificates.OPTIONAL
    trust_anchors: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()


def server_context(material: ServerMaterial) -> SSL.Context:
    """Build the context of a listener.

    :raises OpenSSL.SSL.Error: when key and certificate do not belong together, or are too weak for OpenSSL.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # who waits for an agent's approval needs none
    context.set_min_proto_version(material.minimum)
    context.set_cipher_list(_SERVER_SUITES)
    # No tickets and no sessions: tls-unique is the first Finished of a full handshake (RFC 5929 §3.1), and a resumed
    # session would keep a client certificate good that has been revoked meanwhile.
    context.set_options(
        SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"kipuka")
    context.use_certificate(material.chain[0])
    context.use_privatekey(material.key)  # type: ignore[arg-type]  # the type grows with cryptography; OpenSSL decides
    context.check_privatekey()
    for certificate in material.chain[1:]:
        if certificate.subject != certificate.issuer:
            context.add_extra_chain_cert(certificate)
    context.set_alpn_select_callback(lambda _, offered: _HTTP1 if _HTTP1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS)
    return context


def client_context(
    trust_roots: Sequence[x509.Certificate],
    chain: Sequence[x509.Certificate] = (),
    key: CertificateIssuerPrivateKeyTypes | None = None,
) -> SSL.Context:
    """Return OpenSSL's settings of a connection to a CA: versions, suites, roots. Names are checked by ClientPolicy.

    :raises OpenSSL.SSL.Error: as :func:`server_context`.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CLIENT_SUITES)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    store = context.get_cert_store()
    if store is None:  # pragma: no cover - a context always has one
        raise RuntimeError("TLS context without a certificate store")
    for root in trust_roots:
        store.add_cert(crypto.X509.from_cryptography(root))
    # The administrator names whom to trust: a subordinate CA will do without its root.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    if key is not None:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)  # type: ignore[arg-type] # pyOpenSSL does not name ML-DSA yet
    return context


def reasons(error: BaseException) -> list[str]:
    """What OpenSSL says in an error, which is a list of (library, function, reason); empty when it says nothing."""
    queue = error.args[0] if error.args else ()
    return [str(entry[-1]) for entry in queue if entry[-1]] if isinstance(queue, list | tuple) else []


def words(error: BaseException) -> str:
    """An error in one line, whether it is OpenSSL's or another."""
    return ", ".join(reasons(error)) or str(error) or type(error).__name__
