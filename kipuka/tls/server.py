"""The TLS of the EST listener: contexts built once, client certificates checked by OpenSSL while shaking hands.

A context is never changed after its first connection (pyOpenSSL refuses it, and it was never safe); new certificates
or CRLs mean a new context, swapped in :attr:`ServerConnections.context`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import ReferenceType, WeakKeyDictionary, ref

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocol
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from kipuka.tls.contexts import ClientCertificates, ServerMaterial, server_context


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


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Makes the TLS side of each connection and tells whoever listens which client certificates were refused.

    :param material: what the first context is built from.
    :param refused: called, in the handshake, once for each refused certificate.
    :param end: called with the protocol of each open connection whose client certificate has been revoked since.
    """

    def __init__(
        self, material: ServerMaterial, refused: Refusals, end: Callable[[IProtocol], None] = lambda _protocol: None
    ) -> None:
        self._refused = refused
        self._end = end
        self._own: dict[str, x509.CertificateRevocationList] = {}
        self._protocols: WeakKeyDictionary[SSL.Connection, ReferenceType[TLSMemoryBIOProtocol]] = WeakKeyDictionary()
        self._material = material
        self.context = self._build(material, self._own)

    def honour(self, ca_id: str, crl: x509.CertificateRevocationList) -> None:
        """Refuse what this CRL of one of kipuka's own CAs lists: from the next connection on, and on open ones.

        It is no reason to ask for CRLs of the other trust anchors, as those of :class:`ServerMaterial` are.
        """
        self._own[ca_id] = crl
        self.context = self._build(self._material, self._own)
        self._end_revoked(crl)

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

    def _end_revoked(self, crl: x509.CertificateRevocationList) -> None:
        """End the connections whose clients it lists; those that still shake hands are checked by all there is then."""
        by_serial = defaultdict(list)
        for connection, reference in list(self._protocols.items()):
            # Twisted takes it out of its wrapping when the connection is lost, which may be long before both are gone.
            protocol = getattr(reference(), "wrappedProtocol", None)
            certificate = connection.get_peer_certificate()
            if protocol is not None and certificate is not None:
                by_serial[certificate.get_serial_number()].append((certificate, protocol))
        # One way through the CRL, which may be long, however many connections there are.
        for serial in by_serial.keys() & {entry.serial_number for entry in crl} if by_serial else ():
            for certificate, protocol in by_serial[serial]:
                if _is_listed(certificate, [crl]):
                    self._end(protocol)

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
                # A context that has been replaced since the connection was made knows an older one.
                looked_at = beside if self.context is context else [*self._own.values()]
                if not (looked_at and _is_listed(certificate, looked_at)):
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
