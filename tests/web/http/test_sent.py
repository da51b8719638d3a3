"""What counts as written out to a client: over real TLS on 127.0.0.1, with clients that go away at the worst moment."""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from kipuka.authority.interface import EnrollmentRequest, Outcome
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import State
from kipuka.tls.server import ServerConnections, ServerMaterial
from kipuka.web.http.limits import ConnectionLimit, LimitedChannel, Limits
from kipuka.web.http.site import EstSite
from tests.support import pki
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, message

ROOT = pki.root("CN=Server Root")
SERVER = ROOT.server()
LARGE = 16_000_000
"""Bytes, many more than the kernel takes of an answer that nobody reads."""
PATIENCE = 20


class Client:
    """Speaks from a thread of its own, and goes away whenever a test wants it to."""

    def __init__(self, port: int, *, receives: int | None = None) -> None:
        plain = socket.socket()
        if receives is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        plain.settimeout(PATIENCE)
        with tempfile.TemporaryDirectory() as folder:
            anchor = Path(folder) / "root.pem"
            anchor.write_bytes(pki.pem(ROOT.certificate))
            context = ssl.create_default_context(cafile=anchor)
        self._stream = context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False)
        self._stream.connect(("127.0.0.1", port))

    def ask(self, request: bytes) -> None:
        self._stream.do_handshake()
        self._stream.sendall(request)

    def read(self, number: int) -> None:
        while number > 0 and (data := self._stream.recv(65536)):
            number -= len(data)

    def reset(self) -> None:
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()

    def close(self) -> None:
        self._stream.close()


class Answering(Resource):
    """Answers with so many bytes, and keeps the channel."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, size: int, before: Callable[[], None], after: Callable[[LimitedChannel], None]) -> None:
        super().__init__()
        self.size, self.before, self.after = size, before, after

    def render(self, request: Request) -> bytes:
        channel: Any = request.channel
        request.notifyFinish().addCallback(lambda _: self.after(channel))
        request.setHeader("content-length", str(self.size))
        self.before()
        return b"x" * self.size


class Served(TestCase):
    timeout = 60

    async def serve(self, resource: IResource) -> int:
        """The whole of what lies between a resource and the socket, as a listener of the daemon has it."""
        self.ended: Deferred[None] = Deferred()
        self.site = EstSite(resource, reactor, Limits(), lambda _: None, lambda *_: self.ended.callback(None))
        tls = ServerConnections(ServerMaterial(SERVER.chain, SERVER.key), lambda _: None)
        secured = TLSMemoryBIOFactory(tls, isClient=False, wrappedFactory=self.site, clock=reactor)
        port: Any = reactor.listenTCP(0, ConnectionLimit(secured, 10, 10), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def connect(self, port: int, **options: Any) -> Client:
        client = Client(port, **options)
        self.addCleanup(client.close)
        return client

    async def asks(self, client: Client, request: bytes) -> None:
        await deferToThread(client.ask, request)

    async def turns(self, seconds: float = 0.3) -> None:
        await deferLater(reactor, seconds)


class ChannelTests(Served):
    """:meth:`LimitedChannel.when_sent`, with answers of any size."""

    def setUp(self) -> None:
        self.sent: list[str] = []
        self.answered: Deferred[None] = Deferred()
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[Any], None] = lambda _: None

    async def answering(self, size: int) -> int:
        """Whoever asks gets so many bytes; ``before`` and ``after`` happen in the same turn of the reactor."""

        def finished(channel: LimitedChannel) -> None:
            self.channel = channel
            channel.when_sent(lambda: self.sent.append("sent"))
            self.after(channel)
            self.answered.callback(None)

        return await self.serve(Answering(size, lambda: self.before(), finished))

    async def test_an_answer_that_goes_out_is_sent(self) -> None:
        for fields in ({}, {"connection": "close"}):
            self.setUp()
            client = self.connect(await self.answering(1000))
            await self.asks(client, message("GET", "/answer", **fields))
            await deferToThread(client.read, 1000)
            await self.turns(0.1)
            self.assertEqual(self.sent, ["sent"])
            client.close()
            await self.ended
            self.assertEqual(self.sent, ["sent"])

    async def test_nothing_is_sent_while_it_lies_in_a_buffer(self) -> None:
        lying: list[bool] = []
        self.after = lambda _: lying.append(not self.sent)
        client = self.connect(await self.answering(1000))
        await self.asks(client, message("GET", "/answer"))
        await self.answered
        self.assertEqual(lying, [True])

    async def test_a_client_that_closes_as_soon_as_it_has_read_has_it(self) -> None:
        client = self.connect(await self.answering(1000))

        def read_and_close() -> None:
            client.ask(message("GET", "/answer"))
            client.read(1000)
            client.close()

        await deferToThread(read_and_close)
        await self.ended
        self.assertEqual(self.sent, ["sent"])

    async def test_a_reset_that_the_reactor_has_not_seen(self) -> None:
        client = self.connect(await self.answering(1000))
        self.before = client.reset
        await self.asks(client, message("GET", "/answer"))
        await self.ended
        await self.turns()
        self.assertEqual(self.sent, [])

    async def test_a_client_that_reads_nothing_and_resets(self) -> None:
        client = self.connect(await self.answering(LARGE), receives=4096)
        await self.asks(client, message("GET", "/answer"))
        await self.answered
        await self.turns()
        self.assertEqual(self.sent, [])
        client.reset()
        await self.ended
        await self.turns()
        self.assertEqual(self.sent, [])

    async def test_a_client_that_reads_late_has_it_all_the_same(self) -> None:
        client = self.connect(await self.answering(LARGE))
        await self.asks(client, message("GET", "/answer"))
        await self.answered
        await self.turns()
        self.assertEqual(self.sent, [])
        await deferToThread(client.read, LARGE)
        await self.turns()
        self.assertEqual(self.sent, ["sent"])

    async def test_a_tls_session_that_ended_before_drops_it(self) -> None:
        """As when the client's close_notify is read in the same turn, after the answer was given to TLS."""
        self.after = lambda channel: channel.transport._tlsShutdownFinished(None)
        client = self.connect(await self.answering(1000))
        await self.asks(client, message("GET", "/answer"))
        await self.ended
        await self.turns()
        self.assertEqual(self.sent, [])

    async def test_nothing_of_it_is_left_when_the_connection_ends(self) -> None:
        client = self.connect(await self.answering(LARGE), receives=4096)
        await self.asks(client, message("GET", "/answer"))
        await self.answered
        client.reset()
        await self.ended
        self.assertIsNone(self.channel._outgoing._next)
        self.assertEqual(self.channel._outgoing._waiting, [])


class EnrollmentTests(Served):
    """What the ledger hears of it."""

    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.world.close)
        self.request = message(
            "POST",
            f"{EST}/simpleenroll",
            body(pki.csr(pki.ec_key(), "CN=device")),
            content_type="application/pkcs10",
            authorization=basic(),
        )

    async def enroll(self, outcome: Callable[[Client, EnrollmentRequest], Outcome]) -> None:
        client = self.connect(await self.serve(self.world.operations.resource()))
        self.world.main.outcome = lambda request: outcome(client, request)
        await self.asks(client, self.request)
        await self.turns()
        client.close()
        await self.ended

    def states(self) -> list[State]:
        return [row.state for row in self.world.store.page()]

    async def test_what_goes_out_is_delivered(self) -> None:
        await self.enroll(lambda _, request: self.world.main.issue(request))
        self.assertEqual(self.states(), [State.DELIVERED])

    async def test_a_certificate_that_did_not_go_out_is_kept_for_its_client(self) -> None:
        def gone(client: Client, request: EnrollmentRequest) -> Outcome:
            client.reset()
            return self.world.main.issue(request)

        await self.enroll(gone)
        self.assertEqual(self.world.events, [Event.TAKEN, Event.GRANTED])
        self.assertEqual(self.states(), [State.ISSUED])

    async def test_a_refusal_that_did_not_go_out_is_told_again(self) -> None:
        def gone(client: Client, request: EnrollmentRequest) -> Outcome:
            client.reset()
            raise AuthorityError(Kind.REFUSED, "The CA says no: ask its agents.")

        await self.enroll(gone)
        self.assertEqual(self.world.events, [Event.TAKEN, Event.REFUSED])
        self.assertEqual(self.states(), [State.REJECTED])
