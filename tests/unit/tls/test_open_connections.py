"""kipuka.tls.server: what a new CRL means to connections that are open."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from kipuka.tls.contexts import ServerMaterial
from kipuka.tls.server import ServerConnections
from tests.support import pki
from tests.unit.tls.test_failures import SERVER, show

OWN, OTHER = pki.root("CN=Own CA"), pki.root("CN=Other CA")
MATERIAL = ServerMaterial(SERVER.chain, SERVER.key, trust_anchors=(OWN.certificate, OTHER.certificate))


class Front:
    """A listener in memory, and which of its connections it has ended."""

    def __init__(self) -> None:
        self.ended: list[IProtocol] = []
        self.connections = ServerConnections(MATERIAL, lambda _: None, self.ended.append)
        over = Factory.forProtocol(Protocol)
        self._factory = TLSMemoryBIOFactory(self.connections, isClient=False, wrappedFactory=over, clock=Clock())

    def admit(self, device: pki.Identity) -> Protocol:
        """Shake hands with a client, and return its connection without the TLS."""
        server, wire = self._factory.buildProtocol(None), StringTransport()
        server.makeConnection(wire)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        show(device)(context)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        for _ in range(4):
            with suppress(SSL.WantReadError):
                client.do_handshake()
            with suppress(SSL.WantReadError):
                server.dataReceived(client.bio_read(65536))
            if wire.value():
                client.bio_write(wire.value())
            wire.clear()
        assert isinstance(server.wrappedProtocol, Protocol)
        return server.wrappedProtocol


@pytest.fixture(autouse=True)
def _without_collection() -> Iterator[None]:
    """Have what only the garbage collector takes stay until the end of the test, as it may in the daemon."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_tls_07_those_of_revoked_clients_end() -> None:
    front, device, good = Front(), OWN.client("CN=device"), OWN.client("CN=good")
    revoked, _ = front.admit(device), front.admit(good)
    front.connections.honour("own", OWN.crl())
    assert front.ended == []
    front.connections.honour("other", OTHER.crl([device.certificate]))  # another CA's number
    assert front.ended == []
    front.connections.honour("own", OWN.crl([device.certificate]))
    assert front.ended == [revoked]


def test_one_that_broke_off_is_no_obstacle() -> None:
    front, device = Front(), OWN.client("CN=device")
    protocol = front.admit(device)
    assert protocol.transport is not None
    tls = protocol.transport
    tls.connectionLost(Failure(ConnectionLost()))  # type: ignore[attr-defined] # between TCP and the protocol
    front.connections.honour("own", OWN.crl([device.certificate]))
    assert front.ended == []


def test_a_context_that_was_replaced_goes_with_its_last_connection() -> None:
    front = Front()
    before = weakref.ref(front.connections.context)
    front.connections.honour("own", OWN.crl())
    assert before() is None
