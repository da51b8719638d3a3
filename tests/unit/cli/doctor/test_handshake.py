"""A look at a server, at real sockets: which of name, port, TLS, chain, host name and date is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLContextFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from kipuka.cli.doctor.checks.handshake import Seen, judge, look
from kipuka.cli.doctor.findings import Level
from tests.support import pki

ROOT = pki.root("CN=Doctor Root")
SECONDS = 10


@implementer(IOpenSSLContextFactory)
class Server:
    def __init__(self, identity: pki.Identity) -> None:
        self._identity = identity

    def getContext(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self._identity.certificate)
        for each in self._identity.intermediates:
            context.add_extra_chain_cert(each)
        context.use_privatekey(self._identity.key)
        return context


class Silent(Protocol):
    """Takes connections and says nothing."""


class HandshakeTests(TestCase):
    timeout = 60

    async def served(self, identity: pki.Identity) -> int:
        endpoint = SSL4ServerEndpoint(reactor, 0, Server(identity), interface="127.0.0.1")
        return await self.listening(endpoint)

    async def listening(self, endpoint: IStreamServerEndpoint) -> int:
        port: Any = await endpoint.listen(Factory.forProtocol(Silent))
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def seen(self, port: int, host: str = "localhost", trust=(ROOT.certificate,), seconds: float = SECONDS):
        return await look(reactor, f"https://{host}:{port}", trust, seconds)

    def judged(self, seen: Seen, host: str = "localhost") -> list[tuple[Level, str]]:
        return [(each.level, each.text) for each in judge("ca x", f"https://{host}:8443", seen, pki.NOW)]

    def faults(self, seen: Seen, host: str = "localhost") -> list[str]:
        return [text for level, text in self.judged(seen, host) if level is Level.FAULT]

    async def test_good(self) -> None:
        seen = await self.seen(await self.served(ROOT.server()))
        self.assertEqual(seen.version, "TLSv1.3")
        self.assertEqual(self.faults(seen), [])
        self.assertEqual(len(self.judged(seen)), 3)

    async def test_subordinate_ca_without_its_root(self) -> None:
        """ca_cert may hold the subordinate alone."""
        below = ROOT.intermediate()
        seen = await self.seen(await self.served(below.server()), trust=(below.certificate,))
        self.assertEqual(self.faults(seen), [])

    async def test_wrong_chain(self) -> None:
        seen = await self.seen(await self.served(pki.root("CN=Stranger").server()))
        (text,) = self.faults(seen)
        self.assertIn("wrong chain", text)
        self.assertIn("issued by CN=Stranger", text)

    async def test_nothing_trusted(self) -> None:
        seen = await self.seen(await self.served(ROOT.server()), trust=())
        self.assertIn("wrong chain", self.faults(seen)[0])

    async def test_wrong_host_name(self) -> None:
        seen = await self.seen(await self.served(ROOT.server("ca.example.com")))
        (text,) = self.faults(seen)
        self.assertEqual(text, "wrong host name: the certificate is for ca.example.com, and url says localhost")

    async def test_address(self) -> None:
        port = await self.served(ROOT.server())
        self.assertEqual(self.faults(await self.seen(port, "127.0.0.1"), "127.0.0.1"), [])
        self.assertIn("wrong host name", self.faults(await self.seen(port), "127.0.0.2")[0])

    async def test_expired(self) -> None:
        server = ROOT.server(not_after=pki.NOW - timedelta(days=3))
        (text,) = self.faults(await self.seen(await self.served(server)))
        self.assertTrue(text.startswith("expired: the certificate CN=localhost ended on "), text)

    async def test_not_yet(self) -> None:
        server = ROOT.server(not_before=pki.NOW + timedelta(hours=1))
        (text,) = self.faults(await self.seen(await self.served(server)))
        self.assertIn("begins only on", text)

    async def test_everything_at_once(self) -> None:
        server = pki.root("CN=Stranger").server("ca.example.com", not_after=pki.NOW - timedelta(days=3))
        faults = self.faults(await self.seen(await self.served(server)))
        self.assertEqual([text.split(":")[0] for text in faults], ["wrong chain", "expired", "wrong host name"])

    async def test_client_certificate_instead_of_a_server_one(self) -> None:
        key = pki.ec_key()
        san = (pki.san("localhost"), False)
        usage = (pki.x509.ExtendedKeyUsage([pki.ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        identity = pki.Identity(ROOT.certify(key, "CN=localhost", extensions=[san, usage]), key)
        (text,) = self.faults(await self.seen(await self.served(identity)))
        self.assertIn("verification error 26", text)

    async def test_refused(self) -> None:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Silent))
        number = port.getHost().port
        await port.stopListening()
        seen = await self.seen(number, "127.0.0.1")
        self.assertEqual((seen.failed, seen.why), ("tcp", "the connection was refused"))
        self.assertEqual(len(self.judged(seen)), 1)

    async def test_unknown_name(self) -> None:
        seen = await self.seen(8443, "no-such-host.invalid")
        self.assertEqual(seen.failed, "dns")
        self.assertIn("cannot be resolved", self.faults(seen)[0])

    async def test_a_server_that_says_nothing(self) -> None:
        port = await self.listening(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        seen = await self.seen(port, seconds=0.5)
        self.assertEqual((seen.failed, seen.why), ("tls", "no answer within 0.5 s"))

    async def test_a_server_without_tls(self) -> None:
        class Plain(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                self.transport.loseConnection()

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Plain))
        self.addCleanup(port.stopListening)
        seen = await self.seen(port.getHost().port, "127.0.0.1")
        self.assertEqual(seen.failed, "tls")
        self.assertIn("does not complete a TLS handshake", self.faults(seen)[0])

    def test_a_chain_that_is_about_to_end(self) -> None:
        server = ROOT.server(not_before=pki.NOW - timedelta(days=300), not_after=pki.NOW + timedelta(days=20))
        seen = Seen("", "", "TLSv1.3", server.chain)
        self.assertEqual(self.judged(seen)[-1][0], Level.WARNING)
