"""What the listener's TLS context offers at all."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolFactory, IProtocolNegotiationFactory

from kipuka.tls.contexts import ServerMaterial, server_context
from tests.support import pki
from tests.web.fakes import World

SUITES = {
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
}


def test_tls_03_tls_11_no_suite_without_certificate_forward_secrecy_and_aead() -> None:
    server = pki.root().server()
    context = server_context(ServerMaterial(server.chain, server.key))
    assert set(SSL.Connection(context, None).get_cipher_list()) <= SUITES


def test_tls_13_the_site_leaves_alpn_to_the_listener(world: World) -> None:
    assert IProtocolFactory.providedBy(world.site)
    assert not IProtocolNegotiationFactory.providedBy(world.site)
