"""Why handshakes fail, from the words of the OpenSSL that is installed: each failure is made, none is written down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from kipuka.tls import failures
from kipuka.tls.contexts import ClientCertificates, ServerMaterial
from kipuka.tls.server import RefusedCertificate, ServerConnections
from tests.support import pki

ROOT = pki.root("CN=Failures Root")
SERVER = ROOT.server()
Setting = Callable[[SSL.Context], object]


def failed(client: Setting, mode: ClientCertificates = ClientCertificates.OPTIONAL, minimum: int = 0) -> str | None:
    """The cause of what happens between such a client and kipuka's listener."""
    refused: list[RefusedCertificate] = []
    material = ServerMaterial(SERVER.chain, SERVER.key, minimum or SSL.TLS1_2_VERSION, mode, (ROOT.certificate,), ())
    return handshake(ServerConnections(material, refused.append), client)


def handshake(listener: ServerConnections, client: Setting) -> str | None:
    """Shake hands in memory, and tell the cause of the failure."""
    server = SSL.Connection(listener.context, None)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client(context)
    other = SSL.Connection(context, None)
    server.set_accept_state()
    other.set_connect_state()
    for _ in range(10):
        for one, peer in ((other, server), (server, other)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                if one is server:
                    return failures.cause(Failure(error))
            move(one, peer)
    return "no failure"


def move(one: SSL.Connection, peer: SSL.Connection) -> None:
    with suppress(SSL.WantReadError):
        peer.bio_write(one.bio_read(65536))


def no_trust(context: SSL.Context) -> None:
    context.set_verify(SSL.VERIFY_PEER, None)


def show(identity: pki.Identity) -> Setting:
    def use(context: SSL.Context) -> None:
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)

    return use


def test_a_handshake_that_succeeds() -> None:
    assert failed(show(ROOT.client("CN=device"))) == "no failure"


@pytest.mark.parametrize(
    ("client", "cause"),
    [
        (no_trust, failures.DISTRUST),
        (lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION), failures.VERSION),
    ],
    ids=["distrust", "version"],
)
def test_with_tls_1_3_only(client: Setting, cause: str) -> None:
    assert failed(client, minimum=SSL.TLS1_3_VERSION) == cause


def old(context: SSL.Context) -> None:
    context.set_max_proto_version(SSL.TLS1_2_VERSION)


@pytest.mark.parametrize(
    ("client", "cause"),
    [
        (lambda context: (old(context), no_trust(context)), failures.DISTRUST),
        (lambda context: (old(context), context.set_cipher_list(b"AES128-SHA")), failures.CIPHER),
    ],
    ids=["distrust", "cipher"],
)
def test_with_tls_1_2(client: Setting, cause: str) -> None:
    assert failed(client) == cause


def test_a_client_without_the_certificate_that_is_required() -> None:
    assert failed(lambda _: None, ClientCertificates.REQUIRED) == failures.NO_CERTIFICATE


def test_a_refused_client_certificate_is_told_by_the_listener_itself() -> None:
    assert failed(show(pki.root("CN=Stranger").client("CN=device"))) is None


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 64],
    ids=["http", "ssh", "zeros"],
)
def test_what_is_no_tls_at_all(said: bytes) -> None:
    server = SSL.Connection(ServerConnections(ServerMaterial(SERVER.chain, SERVER.key), print).context, None)
    server.set_accept_state()
    server.bio_write(said)
    with pytest.raises(SSL.Error) as caught:
        server.do_handshake()
    assert failures.cause(Failure(caught.value)) == failures.NOT_TLS


def test_other_ends_are_no_failed_handshakes() -> None:
    assert failures.cause(Failure(ConnectionDone())) is None
    assert failures.cause(Failure(SSL.SysCallError(-1, "Unexpected EOF"))) is None
    assert failures.cause(Failure(SSL.Error([]))) is None
    assert failures.cause(Failure(SSL.Error([("SSL routines", "", "unexpected eof while reading")]))) is None


def test_what_is_not_known_has_one_name() -> None:
    assert failures.cause(Failure(SSL.Error([("SSL routines", "", "something new\n")]))) == failures.OTHER
