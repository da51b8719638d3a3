"""Who may use the admin API: bearer tokens (RFC 6750), and client certificates of the administrators' CAs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from kipuka.access.credentials.tokens import Scope, Token
from kipuka.access.failures import Failures
from kipuka.access.identity import Caller, subject_text
from kipuka.access.pattern import Pattern
from kipuka.errors import Kind, RequestError
from kipuka.web.http import session

InThread = Callable[[Callable[[], Any]], Deferred[Any]]


class TokenFile(Protocol):
    """What is needed of :class:`kipuka.access.credentials.token_file.TokenFile`."""

    def verify(self, presented: str, now: datetime) -> Token:
        """Block until known, and raise RequestError when wrong."""


@dataclass(frozen=True)
class Administrator:
    """Who is let in.

    :param name: for the audit: ``token:NAME`` or ``certificate:SUBJECT``.
    """

    name: str
    scopes: frozenset[Scope]


@dataclass(frozen=True)
class CertificateRule:
    """Which client certificates are those of administrators.

    :param anchors: one of these CAs issued them, perhaps through others.
    :param subjects: one of these fits the subject as RFC 4514 text; None: any subject does.
    """

    anchors: Collection[x509.Certificate] = ()
    subjects: Sequence[Pattern] | None = None

    def issuer_fits(self, chain: Sequence[x509.Certificate]) -> bool:
        """Whether one of the CAs issued it.

        :param chain: a certificate that the handshake has checked, and those above it up to the trust anchor.
        """
        return any(issuer in self.anchors for issuer in chain[1:])

    def subject_fits(self, certificate: x509.Certificate, caller: Caller) -> bool:
        """Whether it has one of the subjects.

        :param caller: whose certificate it is.
        :raises RequestError: FORBIDDEN: it cannot be read.
        """
        if self.subjects is None:
            return True
        subject = subject_text(certificate)
        return any(pattern.matches(subject, caller) for pattern in self.subjects)


class TooManyFailuresError(RequestError):
    """The address has shown too many wrong tokens.

    :param retry_after: seconds.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            Kind.TOO_MANY, "Too many wrong tokens came from this address: correct the token, then try again later."
        )
        self.retry_after = retry_after


class Door:
    """Lets administrators in.

    :param tokens: None: there are none.
    :param certificates: who shows one of these, checked by the handshake, has all scopes.
    :param in_thread: runs a blocking function in a thread.
    """

    def __init__(
        self,
        tokens: TokenFile | None,
        certificates: CertificateRule,
        in_thread: InThread,
        clock: IReactorTime,
        failures: Failures | None = None,
    ) -> None:
        self._tokens = tokens
        self._certificates = certificates
        self._in_thread = in_thread
        self._clock = clock
        self._failures = failures or Failures()

    async def admit(self, request: Request, scope: Scope) -> Administrator:
        """Return who is calling. A token that is shown decides, whatever certificate is shown with it.

        :raises RequestError: UNAUTHENTICATED, FORBIDDEN when they lack the scope, TOO_MANY, INTERNAL when the tokens
            cannot be read.
        """
        presented = bearer_token(request)
        who = self._by_certificate(request) if presented is None else await self._by_token(request, presented)
        if scope not in who.scopes:
            raise RequestError(
                Kind.FORBIDDEN, f"This token does not allow that: it takes one with the scope {scope.value}."
            )
        return who

    async def _by_token(self, request: Request, presented: str) -> Administrator:
        tokens = self._tokens
        if tokens is None:
            raise RequestError(Kind.UNAUTHENTICATED, "Tokens are not used here: show a client certificate instead.")
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        try:
            token: Token = await self._in_thread(lambda: tokens.verify(presented, now))
        except RequestError as error:
            if error.kind is Kind.UNAUTHENTICATED:
                self._count(session.client_address(request))
            raise
        return Administrator(f"token:{token.name}", token.scopes)

    def _count(self, address: str) -> None:
        now = self._clock.seconds()
        if self._failures.is_too_many(self._failures.count(address, now)):
            raise TooManyFailuresError(self._failures.wait(address, now))

    def _by_certificate(self, request: Request) -> Administrator:
        chain = session.verified_chain(request)
        if not self._certificates.issuer_fits(chain):
            raise self._stranger()
        caller = Caller(chain[0], None, session.client_address(request))
        if not self._certificates.subject_fits(chain[0], caller):
            raise self._stranger("the certificate is of a CA in admin.trust_anchors, its subject not in admin.subjects")
        return Administrator(caller.name, frozenset(Scope))

    def _stranger(self, cause: str = "") -> RequestError:
        ways = [
            "a bearer token" if self._tokens is not None else "",
            "the certificate of an administrator" if self._certificates.anchors else "",
        ]
        text = f"This is for administrators: show {' or '.join(filter(None, ways))}."
        return RequestError(Kind.UNAUTHENTICATED, text, cause)


def bearer_token(request: Request) -> str | None:
    """The token of a request, None when it shows none; what cannot be a token is returned all the same."""
    header = request.getHeader(b"authorization")
    scheme, _, value = header.partition(b" ") if header is not None else (b"", b"", b"")
    return value.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


def check_origin(request: Request) -> None:
    """Refuse what a page of another site had a browser send with an administrator's certificate (CSRF).

    A browser shows the certificate by itself, a token never. The fields are those it adds (W3C Fetch Metadata; RFC 6454
    §7); programs send neither.

    :raises RequestError: FORBIDDEN.
    """
    if bearer_token(request) is not None:
        return
    sites, origins, hosts = (
        [value.strip().lower() for value in request.requestHeaders.getRawHeaders(name, ())]
        for name in (b"sec-fetch-site", b"origin", b"host")
    )
    own = [b"https://" + host for host in hosts]
    if any(site not in (b"same-origin", b"none") for site in sites) or any(origin not in own for origin in origins):
        raise RequestError(
            Kind.FORBIDDEN, "A browser sent this for a page of another site: send it with a program such as curl."
        )
