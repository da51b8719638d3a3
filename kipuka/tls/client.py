"""TLS to a CA: its certificate checked against given roots and its name, kipuka's own certificate shown."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from kipuka.tls.contexts import client_context


@implementer(IPolicyForHTTPS)
class ClientPolicy:
    """How kipuka meets one CA.

    :param trust_roots: certificates that may vouch for the server; they need not be self-signed.
    :param chain: kipuka's certificate and whatever leads from it to its issuer; empty shows none.
    :param key: the private key of ``chain[0]``.
    :raises ValueError: without trust roots, or when key and certificate do not belong together.
    :raises OpenSSL.SSL.Error: they are too weak for OpenSSL.
    """

    def __init__(
        self,
        trust_roots: Sequence[x509.Certificate],
        chain: Sequence[x509.Certificate] = (),
        key: CertificateIssuerPrivateKeyTypes | None = None,
    ) -> None:
        if not trust_roots:
            raise ValueError("at least one trusted certificate is needed to check the CA's server")
        if bool(chain) != (key is not None):
            raise ValueError("a client certificate and its private key are only of use together")
        if key is not None and not _belongs(key, chain[0]):
            raise ValueError("the private key is not that of the client certificate")
        # One context for all connections, made before the first and never touched again (pyOpenSSL insists).
        self._context = client_context(trust_roots, chain, key)
        # Twisted asks once per request, kept connections included.
        self._creator = lru_cache(maxsize=8)(self._new_creator)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:  # noqa: ARG002
        """Return what makes TLS connections to the host (Twisted's interface)."""
        creator: IOpenSSLClientConnectionCreator = self._creator(hostname.decode("ascii"))
        return creator

    def _new_creator(self, hostname: str) -> IOpenSSLClientConnectionCreator:
        return _Creator(self._context, hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes connections that break off in the handshake unless the certificate is for the name asked for."""

    def __init__(self, context: SSL.Context, hostname: str) -> None:
        self._context = context
        self._hostname = hostname.strip("[]")
        self._is_address = _is_address(self._hostname)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803
        connection = SSL.Connection(self._context, None)
        if not self._is_address:  # RFC 6066 §3: no address literals
            connection.set_tlsext_host_name(self._hostname.encode("ascii"))

        def verify(_: SSL.Connection, certificate: crypto.X509, _errno: int, depth: int, ok: int) -> bool:
            if not ok or depth:
                return bool(ok)
            # An exception would be lost in OpenSSL: hand it to the protocol, which is told why it ended.
            try:
                self._check_name(certificate.to_cryptography())
            except Exception:
                tlsProtocol.failVerification(Failure())
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection

    def _check_name(self, certificate: x509.Certificate) -> None:
        if self._is_address:
            verify_certificate_ip_address(certificate, self._hostname)
        else:
            verify_certificate_hostname(certificate, self._hostname)


def _belongs(key: CertificateIssuerPrivateKeyTypes, certificate: x509.Certificate) -> bool:
    try:
        return bool(key.public_key() == certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):  # a kind of key that cryptography does not know
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
