"""What the TLS session under a request says about its client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from cryptography import x509
from OpenSSL import SSL
from twisted.web.http import Request

from kipuka.access.identity import issuer, subject
from kipuka.errors import Kind, RequestError
from kipuka.est.channel_binding import TlsBinding
from kipuka.observe.audit.record import Origin

T = TypeVar("T")

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_BYTES = 32


def client_certificate(request: Request) -> x509.Certificate | None:
    """The certificate the client proved to own in the handshake; the handshake has checked it.

    :raises RequestError: FORBIDDEN, when it is encoded in a way that OpenSSL accepts and cryptography does not.
    """
    connection = _connection(request)
    return None if connection is None else _read(lambda: connection.get_peer_certificate(as_cryptography=True))


def verified_chain(request: Request) -> tuple[x509.Certificate, ...]:
    """The client's certificate and those above it, up to the trust anchor, as the handshake has checked them.

    Empty when the client showed none.

    :raises RequestError: FORBIDDEN, as for the client's certificate alone.
    """
    connection = _connection(request)
    if connection is None or connection.get_peer_certificate() is None:
        return ()
    chain = _read(lambda: connection.get_verified_chain(as_cryptography=True))
    return tuple(chain or ())


def _read(certificates: Callable[[], T]) -> T:
    try:
        return certificates()
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        sentence = "The client certificate, or one above it, cannot be read: use another one."
        raise RequestError(Kind.FORBIDDEN, sentence, str(error)) from error


def client_address(request: Request) -> str:
    """The client's IP address as text."""
    return str(getattr(request.getClientAddress(), "host", "?"))


def reference(request: Request) -> str:
    """What the request is called in the log, in the audit, and towards its client."""
    return str(getattr(request, "reference", ""))


def origin(request: Request) -> Origin:
    """Where a request came from, for the audit."""
    connection = _connection(request)
    if connection is None:
        return Origin(reference=reference(request), address=client_address(request))
    found = Origin(
        reference=reference(request),
        address=client_address(request),
        tls=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name(),
    )
    try:
        certificate = client_certificate(request)
    except RequestError as error:
        return replace(found, certificate=_unreadable(error))
    if certificate is None:
        return found
    return replace(
        found,
        certificate=_text(subject, certificate),
        certificate_issuer=_text(issuer, certificate),
        certificate_serial=f"0x{certificate.serial_number:x}",
    )


def _text(name: Callable[[x509.Certificate], x509.Name], certificate: x509.Certificate) -> str:
    try:
        return name(certificate).rfc4514_string()
    except RequestError as error:
        return _unreadable(error)


def _unreadable(error: RequestError) -> str:
    return f"unreadable ({error.cause})"


def binding(request: Request) -> TlsBinding:
    """The values a client may have put into its CSR to link it to this session.

    TLS 1.2: the client's Finished message, because there is no resumption here (RFC 5929 §3.1). TLS 1.3: the exporter
    of RFC 9266 §2; its context is present and empty.
    """
    connection = _connection(request)
    if connection is None:
        return TlsBinding("", None, None)
    protocol = connection.get_protocol_version_name()
    if protocol == "TLSv1.3":
        exporter = connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_BYTES, b"")
        return TlsBinding(protocol, None, exporter)
    return TlsBinding(protocol, connection.get_peer_finished(), None)


def _connection(request: Request) -> SSL.Connection | None:
    handle = getattr(request.channel.transport, "getHandle", None)
    connection = handle() if handle is not None else None
    return connection if isinstance(connection, SSL.Connection) else None
