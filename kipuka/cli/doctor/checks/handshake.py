"""A look at a server before anything is sent to it: name, port, TLS, certificate; and what that look means.

The handshake is completed whatever the certificate is like, so that everything wrong with it is seen. No client
certificate is shown and no request is sent over this connection.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError, TimeoutError  # noqa: A004
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from kipuka.authority.dogtag.rest.connection import HandshakeFirst
from kipuka.authority.dogtag.wire import printable
from kipuka.cli.doctor.checks.tls import names, validity
from kipuka.cli.doctor.findings import Finding, fault, ok
from kipuka.config.certificates import name_of
from kipuka.tls.contexts import client_context

_DNS, _TCP, _TLS = "dns", "tcp", "tls"

_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
"""OpenSSL's X509_V_ERR_*, as far as they are told apart here."""


@dataclass(frozen=True)
class Seen:
    """What a connection showed.

    :param failed: where it ended when it did: "dns", "tcp" or "tls"; empty when the handshake was completed.
    :param why: the words of that failure.
    :param chain: the certificates the server sent, its own first.
    :param errors: OpenSSL's error numbers against the trusted certificates.
    """

    failed: str = ""
    why: str = ""
    version: str = ""
    chain: tuple[x509.Certificate, ...] = ()
    errors: frozenset[int] = frozenset()


async def look(reactor: Any, url: str, trust: Sequence[x509.Certificate], seconds: float) -> Seen:
    """Connect and shake hands.

    :param trust: certificates that may vouch for the server; none: every certificate is an unknown one.
    :param seconds: for all of it.
    """
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 443
    watcher = _Watcher(host, trust)
    tcp = HostnameEndpoint(reactor, host, port, timeout=seconds)
    endpoint = HandshakeFirst(wrapClientTLS(watcher, tcp))
    connecting = endpoint.connect(Factory.forProtocol(Protocol))
    alarm = reactor.callLater(seconds, connecting.cancel)
    try:
        protocol: Any = await connecting
    except DNSLookupError as error:
        return Seen(_DNS, printable(str(error)))
    except ConnectionRefusedError:
        return Seen(_TCP, "the connection was refused")
    except (TimeoutError, CancelledError):
        # The handshake's own connection exists from the moment TCP is up.
        return Seen(_TCP if watcher.connection is None else _TLS, f"no answer within {seconds:g} s")
    except ConnectError as error:
        return Seen(_TCP, printable(str(error)))
    except Exception as error:
        return Seen(_TLS, printable(f"{type(error).__name__}: {error}"))
    finally:
        if alarm.active():
            alarm.cancel()
    gone: Deferred[None] = Deferred()
    protocol.connectionLost = lambda _reason: gone.callback(None)
    protocol.transport.abortConnection()
    await gone
    return watcher.seen()


def judge(subject: str, url: str, seen: Seen, now: datetime) -> Iterator[Finding]:
    """Say what the look at a server means; any fault among it means that kipuka would not talk to it either."""
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 443
    where = f"{host} port {port}"
    if seen.failed == _DNS:
        yield fault(subject, f"the name {host} cannot be resolved: {seen.why}", "correct url, or the name service")
        return
    if seen.failed == _TCP:
        remedy = "start Dogtag, correct host and port in url, or open the firewall"
        yield fault(subject, f"{where} cannot be reached: {seen.why}", remedy)
        return
    yield ok(subject, f"{where} can be reached")
    if seen.failed == _TLS:
        remedy = "check that url names Dogtag's https port (8443 by default) and that it speaks TLS 1.2 or newer"
        yield fault(subject, f"{where} does not complete a TLS handshake: {seen.why}", remedy)
        return
    faults = list(_certificate_faults(subject, host, seen, now))
    yield from faults
    if not faults:
        server = seen.chain[0]
        yield ok(subject, f"{seen.version}, the server's certificate is good for {host} and leads to ca_cert")
        yield validity(subject, "the server's TLS certificate", server, now, "renew it at Dogtag in time")


def _certificate_faults(subject: str, host: str, seen: Seen, now: datetime) -> Iterator[Finding]:
    server = seen.chain[0]
    name, issuer = name_of(server.subject), name_of(server.issuer)
    if seen.errors & _UNKNOWN_ISSUER:
        text = f"wrong chain: the server's certificate {name} was issued by {issuer}, to which ca_cert does not lead"
        remedy = (
            "put the certificate of that CA into ca_cert if it is the right one, or correct url; compare fingerprints "
            "with the CA's administrator first"
        )
        yield fault(subject, text, remedy)
    # Of the others only if OpenSSL missed something in the path: a server may send more than is needed.
    for certificate in seen.chain[:1] if not seen.errors & {_EXPIRED, _NOT_YET} else seen.chain:
        if certificate.not_valid_after_utc < now:
            text = f"expired: the certificate {name_of(certificate.subject)} ended on "
            text += f"{certificate.not_valid_after_utc:%Y-%m-%d}"
            yield fault(subject, text, "renew it at Dogtag")
        elif certificate.not_valid_before_utc > now:
            text = f"the certificate {name_of(certificate.subject)} begins only on "
            text += f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M UTC}"
            yield fault(subject, text, "set the clocks of this machine and of the CA")
    if not _is_for(server, host):
        text = f"wrong host name: the certificate is for {', '.join(names(server)) or 'no name'}, and url says {host}"
        yield fault(subject, text, "use one of these names in url, or give the server a certificate for this one")
    other = seen.errors - _UNKNOWN_ISSUER - {_EXPIRED, _NOT_YET}
    for number in sorted(other):
        words = f"OpenSSL's verification error {number}, see openssl-verification-options(1)"
        yield fault(subject, f"the server's certificate {name} is not accepted: {words}", "replace it at Dogtag")


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    try:
        if _is_address(host):
            verify_certificate_ip_address(certificate, host)
        else:
            verify_certificate_hostname(certificate, host)
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@implementer(IOpenSSLClientConnectionCreator)
class _Watcher:
    """Makes the connection that notes everything and refuses nothing."""

    def __init__(self, host: str, trust: Sequence[x509.Certificate]) -> None:
        self._host = host
        self._trust = trust
        self._errors: set[int] = set()
        self.connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        """Return the connection (Twisted's interface)."""
        context = client_context(self._trust) if self._trust else SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER, self._note)
        self.connection = SSL.Connection(context, None)
        if not _is_address(self._host):
            self.connection.set_tlsext_host_name(self._host.encode("ascii"))
        return self.connection

    def seen(self) -> Seen:
        """Return what was noted of a completed handshake."""
        connection = self.connection
        if connection is None:
            raise RuntimeError("there was no handshake")
        chain = connection.get_peer_cert_chain(as_cryptography=True) or ()
        return Seen("", "", connection.get_protocol_version_name(), tuple(chain), frozenset(self._errors))

    def _note(self, _c: SSL.Connection, _x: crypto.X509, error: int, _depth: int, _ok: int) -> bool:
        if error:
            self._errors.add(error)
        return True
