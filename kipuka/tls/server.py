"""The TLS of the EST listener: contexts built once, client certificates checked by OpenSSL while shaking hands.

A context is never changed after its first connection (pyOpenSSL refuses it, and it was never safe); new certificates
or CRLs mean a new context, swapped in :attr:`ServerConnections.context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from weakref import ReferenceType, WeakKeyDictionary, ref

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

# RFC 9325 §4.2: forward secrecy and AEAD only. TLS 1.3 has no other suites.
_TLS12_SUITES = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

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


@dataclass(frozen=True)
class RefusedCertificate:
    """A client certificate that OpenSSL did not accept.

    :param address: the client's IP address, or "?" when the connection is already gone.
    :param errno: OpenSSL's X509_V_ERR number (10 expired, 20 unknown issuer, 23 revoked, 26 wrong purpose...).
    :param depth: 0 is the client's own certificate, 1 its issuer.
    :param protocol: the TLS version, as OpenSSL calls it.
    """

    address: str
    errno: int
    depth: int
    subject: str
    serial: int
    protocol: str | None = None

    @property
    def reason(self) -> str:
        """What :attr:`errno` means, for a person."""
        return _REASONS.get(self.errno, "not valid")


_NO_CRL, _REVOKED = 3, 23
# X509_V_ERR_* of openssl/x509_vfy.h; OpenSSL's own texts change between releases.
_REASONS = {
    2: "issuer certificate missing",
    3: "no CRL for its issuer",
    7: "signature wrong",
    9: "not yet valid",
    10: "expired",
    11: "CRL not yet valid",
    12: "CRL out of date",
    18: "self-signed and not a trust anchor",
    19: "chain ends in a root that is no trust anchor",
    20: "issuer unknown",
    21: "issuer unknown",
    22: "chain too long",
    23: "revoked",
    24: "issuer is not a CA",
    26: "not meant for TLS clients",
    28: "rejected",
}

Refusals = Callable[[RefusedCertificate], None]


def server_context(material: ServerMaterial) -> SSL.Context:
    """Build the context of a listener.

    :raises OpenSSL.SSL.Error: when key and certificate do not belong together.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # who waits for an agent's approval needs none
    context.set_min_proto_version(material.minimum)
    context.set_cipher_list(_TLS12_SUITES)
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


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Makes the TLS side of each connection and tells whoever listens which client certificates were refused.

    :param material: what the first context is built from.
    :param refused: called, in the handshake, once for each refused certificate.
    """

    def __init__(self, material: ServerMaterial, refused: Refusals) -> None:
        self._refused = refused
        self._own: dict[str, x509.CertificateRevocationList] = {}
        self._protocols: WeakKeyDictionary[SSL.Connection, ReferenceType[TLSMemoryBIOProtocol]] = WeakKeyDictionary()
        self._material = material
        self.context = self._build(material, self._own)

    def honour(self, ca_id: str, crl: x509.CertificateRevocationList) -> None:
        """Refuse what this CRL of one of kipuka's own CAs lists, from the next connection on.

        It is no reason to ask for CRLs of the other trust anchors, as those of :class:`ServerMaterial` are.
        """
        self._own[ca_id] = crl
        self.context = self._build(self._material, self._own)

    def replace(self, material: ServerMaterial) -> None:
        """Use other certificates, keys or CRLs from the next connection on.

        Those of kipuka's own CAs are to be told anew: of a CA that is gone nobody would renew it, and once it is out of
        date OpenSSL refuses all of that CA's certificates.

        :raises OpenSSL.SSL.Error: they do not belong together; everything stays as it was.
        """
        self.context = self._build(material, {})
        self._material, self._own = material, {}

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803 - Twisted's
        """Called by Twisted for each accepted connection."""
        connection = SSL.Connection(self.context, None)
        self._protocols[connection] = ref(tlsProtocol)
        return connection

    def _build(self, material: ServerMaterial, own: Mapping[str, x509.CertificateRevocationList]) -> SSL.Context:
        context = server_context(material)
        if material.clients is ClientCertificates.NONE or not material.trust_anchors:
            return context
        store = context.get_cert_store()
        if store is None:  # pragma: no cover - a context always has one
            raise RuntimeError("TLS context without a certificate store")
        for anchor in material.trust_anchors:
            store.add_cert(crypto.X509.from_cryptography(anchor))
            context.add_client_ca(anchor)
        flags = crypto.X509StoreFlags.PARTIAL_CHAIN
        # OpenSSL looks at one CRL of each issuer, the newest: beside one from a file, kipuka's own is looked at here.
        from_files = {crl.issuer for crl in material.crls}
        beside = [crl for crl in own.values() if crl.issuer in from_files]
        for crl in (*material.crls, *(crl for crl in own.values() if crl.issuer not in from_files)):
            store.add_crl(crl)
            flags |= crypto.X509StoreFlags.CRL_CHECK
        store.set_flags(flags)
        mode = SSL.VERIFY_PEER
        if material.clients is ClientCertificates.REQUIRED:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        lenient = not material.crls

        def verify(connection: SSL.Connection, certificate: crypto.X509, errno: int, depth: int, ok: int) -> bool:
            if ok or (lenient and errno == _NO_CRL):
                if not (beside and _is_listed(certificate, beside)):
                    return True
                errno = _REVOKED
            return self._refuse(connection, certificate, errno, depth)

        context.set_verify(mode, verify)
        return context

    def _refuse(self, connection: SSL.Connection, certificate: crypto.X509, errno: int, depth: int) -> bool:
        protocol = self._protocols.get(connection, lambda: None)()
        peer = protocol.getPeer() if protocol is not None and protocol.transport is not None else None
        self._refused(
            RefusedCertificate(
                address=getattr(peer, "host", "?"),
                errno=errno,
                depth=depth,
                subject=_subject(certificate),
                serial=certificate.get_serial_number(),
                protocol=connection.get_protocol_version_name(),
            )
        )
        return False


def _is_listed(certificate: crypto.X509, crls: Sequence[x509.CertificateRevocationList]) -> bool:
    """Whether one of its issuer's CRLs has it. What cryptography cannot read, kipuka's own CAs have not issued."""
    try:
        issuer = certificate.to_cryptography().issuer
    except Exception:
        return False
    serial = certificate.get_serial_number()
    return any(
        crl.issuer == issuer and crl.get_revoked_certificate_by_serial_number(serial) is not None for crl in crls
    )


def _subject(certificate: crypto.X509) -> str:
    """The subject of a certificate that nobody has vouched for; OpenSSL reads some that cryptography does not."""
    try:
        return certificate.to_cryptography().subject.rfc4514_string()
    except Exception as error:
        return f"unreadable ({type(error).__name__})"
