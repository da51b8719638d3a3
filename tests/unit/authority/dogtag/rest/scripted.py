"""A server over real TLS on 127.0.0.1 that does what the path says, and a test's clients of it."""

from __future__ import annotations

from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IOpenSSLServerConnectionCreator,
    IReactorPluggableNameResolver,
)
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from kipuka.authority.dogtag.rest.client import BODY_LIMIT, Client
from kipuka.errors import AuthorityError
from kipuka.tls.client import ClientPolicy
from tests.support import pki
from tests.support.dogtag.contract import connections_closed

ROOT = pki.root("CN=Server Root")
SERVER = ROOT.server()
AGENT = pki.root("CN=Agent Root").client("CN=agent")
POLICY = ClientPolicy([ROOT.certificate], AGENT.chain, AGENT.key)
NOWHERE = "255.255.255.255"
"""No connection to it can be tried."""


@implementer(IHostResolution)
@implementer(IHostnameResolver)
class Names:
    """Resolves each name to the same addresses."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    def resolveHostName(self, receiver: Any, name: str, portNumber: int = 0, *_: Any, **__: Any) -> Any:  # noqa: N803
        receiver.resolutionBegan(self)
        for address in self._addresses:
            receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()
        return self


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The TLS of a test server that asks for a client certificate and takes any."""

    def __init__(self, identity: pki.Identity = SERVER) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate(identity.certificate)
        self._context.use_privatekey(identity.key)
        self._context.set_session_id(b"test")
        self._context.set_verify(SSL.VERIFY_PEER, lambda *_: True)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803 - Twisted's
        return SSL.Connection(self._context, None)


class Script(Resource):
    """Does what the path says and keeps count."""

    isLeaf = True  # noqa: N815 - Twisted's

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.peers: set[tuple[str, int]] = set()
        self.subjects: set[str] = set()
        self.cookies: list[bytes | None] = []
        self.bodies: list[bytes] = []
        self.waiting: list[Request] = []
        self.most = 0

    def render(self, request: Request) -> bytes | int:
        self.seen.append(request.path)
        self.peers.add((request.client.host, request.client.port))
        self.cookies.append(request.getHeader(b"cookie"))
        certificate = request.transport.getHandle().get_peer_certificate(as_cryptography=True)
        self.subjects.add(certificate.subject.rfc4514_string() if certificate else "")
        self.bodies.append(request.content.read())
        request.setHeader("content-type", "application/json")
        return getattr(self, "do_" + request.path.decode().strip("/"))(request)

    def do_ok(self, request: Request) -> bytes:
        request.setHeader("set-cookie", "JSESSIONID=abc; Path=/; Secure; HttpOnly")
        return b"{}"

    def do_odd_cookie(self, request: Request) -> bytes:
        request.setHeader("set-cookie", b"user=Jos\xe9; Path=/")
        return b"{}"

    def do_redirect(self, request: Request) -> bytes:
        request.setResponseCode(302)
        request.setHeader("location", "/ok")
        return b""

    def do_lost(self, request: Request) -> int:
        request.transport.abortConnection()
        return NOT_DONE_YET

    def do_lost_once(self, request: Request) -> bytes | int:
        return b"{}" if self.seen.count(b"/lost_once") > 1 else self.do_lost(request)

    def do_hang(self, request: Request) -> int:
        self.waiting.append(request)
        self.most = max(self.most, len(self.waiting))
        return NOT_DONE_YET

    def do_half(self, request: Request) -> int:
        request.setHeader("content-length", "100")
        request.write(b"{")
        self.waiting.append(request)
        return NOT_DONE_YET

    def do_cut(self, request: Request) -> int:
        self.do_half(request)
        request.transport.unregisterProducer()  # else closing waits for the end of the answer
        request.transport.loseConnection()
        return NOT_DONE_YET

    def do_huge(self, request: Request) -> bytes:
        return b" " * (BODY_LIMIT + 1)

    def do_endless(self, request: Request) -> int:
        for _ in range(3):  # no length: chunked
            request.write(b" " * (BODY_LIMIT // 2))
        return NOT_DONE_YET

    def do_long_header(self, request: Request, lines: int = 7) -> bytes:
        """As long as it may be, with the longest body right behind it."""
        for number in range(lines):
            request.setHeader(f"x-{number}", "a" * 9000)
        return b" " * BODY_LIMIT

    def do_longer_header(self, request: Request) -> bytes:
        return self.do_long_header(request, 50)

    def do_continue(self, request: Request) -> int:
        for _ in range(4000):
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return NOT_DONE_YET

    def do_limit(self, request: Request) -> bytes:
        return b" " * BODY_LIMIT

    def do_close(self, request: Request) -> bytes:
        request.setHeader("connection", "close")
        return b"{}"


class ClientCase(TestCase):
    """A server, clients of it, and what they fail with."""

    timeout = 20

    async def start(self, tls: Any = None, **options: Any) -> Client:
        self.script = Script()
        site = Site(self.script)
        endpoint = SSL4ServerEndpoint(reactor, 0, tls or ServerTLS(), interface="127.0.0.1")
        self.port = await endpoint.listen(site)
        self.addCleanup(connections_closed)
        self.addCleanup(self.port.stopListening)
        return self.client(self.port.getHost().port, **options)

    def client(self, port: int, host: str = "127.0.0.1", policy: ClientPolicy = POLICY, **options: Any) -> Client:
        client = Client.open(reactor, f"https://{host}:{port}", policy, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def resolve(self, addresses: list[str]) -> None:
        """Have every name lead to these addresses from now on."""
        install = cast("IReactorPluggableNameResolver", reactor).installNameResolver
        self.addCleanup(install, install(Names(addresses)))

    async def fails(self, call: Any) -> AuthorityError:
        try:
            answer = await call
        except AuthorityError as error:
            return error
        raise self.failureException(f"no error but {answer}")
