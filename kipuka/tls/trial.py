"""What TLS has against a certificate and its key, found out by shaking hands with them in memory.

OpenSSL takes a key on an odd curve, or a weak intermediate, without a word, and then fails with every peer. For
:func:`kipuka.config.inspect.inspect`, which knows no OpenSSL itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from OpenSSL import SSL

from kipuka.tls.contexts import ServerMaterial, client_context, server_context, words

_FLIGHTS = 10
"""More than a handshake has."""


def server(chain: Sequence[x509.Certificate], key: CertificateIssuerPrivateKeyTypes) -> Iterator[str]:
    """Try what a listener shows with a client that takes any certificate."""
    return _faults(
        lambda: _shake(server_context(ServerMaterial(tuple(chain), key)), SSL.Context(SSL.TLS_CLIENT_METHOD))
    )


def client(chain: Sequence[x509.Certificate], key: CertificateIssuerPrivateKeyTypes) -> Iterator[str]:
    """Try what kipuka shows to a CA with a server that takes any certificate."""

    def shake() -> None:
        own, peer = client_context((), chain, key), server_context(_throwaway())
        own.set_verify(SSL.VERIFY_NONE)
        peer.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        _shake(peer, own)

    return _faults(shake)


def _faults(shake: Callable[[], None]) -> Iterator[str]:
    try:
        shake()
    except (SSL.Error, ValueError) as error:
        yield (
            f"no TLS connection can be made with this: {words(error)}; use RSA keys of at least 2048 bits or EC keys "
            "on P-256, P-384 or P-521, and signatures with SHA-256 or better"
        )


def _shake(ours: SSL.Context, theirs: SSL.Context) -> None:
    """Shake hands.

    :raises OpenSSL.SSL.Error: the first that either end has.
    """
    server, client = SSL.Connection(ours, None), SSL.Connection(theirs, None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(_FLIGHTS):
        for one, peer in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                peer.bio_write(one.bio_read(65536))


def _throwaway() -> ServerMaterial:
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1).not_valid_before(now)
    return ServerMaterial((builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256()),), key)
