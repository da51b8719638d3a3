"""A registration authority with nothing real behind it: a CA that does as told, users in a dictionary, fixed labels."""

from __future__ import annotations

import atexit
import base64
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from kipuka.access import checks
from kipuka.access.credentials.users import wrong_credentials
from kipuka.access.policy import Credential, Policy
from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Issued, Names, Outcome
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.registration import Registration, Times
from kipuka.enrollment.submission import Submitter
from kipuka.est import csrattrs
from kipuka.est.keys import KeyType
from kipuka.observe.audit.record import Record
from kipuka.store.rows import Enrollment
from kipuka.store.store import Store
from kipuka.web.est.authentication import Passwords
from kipuka.web.est.operations import EstOperations
from kipuka.web.est.routing import Gate, Label
from kipuka.web.http.limits import Limits
from kipuka.web.http.site import EstSite
from tests.support import pki
from tests.web.wire import Client, Session

RETRY_AFTER = 17
TIMES = Times(approval=0, answer=0, replay=600)
CERTIFICATE, BASIC = Credential.CERTIFICATE, Credential.BASIC
EITHER = (frozenset({CERTIFICATE}), frozenset({BASIC}))
ALICE = ("alice", "correct horse: battery")


class FakeAuthority:
    """Issues what the CSR asks for, unless ``outcome`` says otherwise."""

    def __init__(self, name: str, issuer: pki.Issuer | None = None) -> None:
        self.id = name
        self.issuer = issuer or pki.root(f"CN=CA {name}")
        self.requests: list[EnrollmentRequest] = []
        self.outcome: Callable[[EnrollmentRequest], Outcome] | None = None
        self.waits_for: Deferred[None] | None = None
        self.chain_error: Exception | None = None

    async def chain(self) -> tuple[x509.Certificate, ...]:
        if self.chain_error is not None:
            raise self.chain_error
        return (self.issuer.certificate,)

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        self.requests.append(request)
        if self.waits_for is not None:
            await self.waits_for
        return self.issue(request) if self.outcome is None else self.outcome(request)

    def issue(self, request: EnrollmentRequest) -> Issued:
        names = request.names or Names(request.csr.subject, _alternative(request.csr))
        extensions = [(names.alternative, False)] if names.alternative is not None else []
        return Issued(self.issuer.certify(request.csr, names.subject, extensions=extensions))

    async def close(self) -> None:
        pass


class FlexibleAuthority(FakeAuthority):
    """One that changes names and knows what became of its certificates."""

    changes_names = True
    status_of: CertificateStatus = CertificateStatus.GOOD

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        return self.status_of


@dataclass
class FakeUsers:
    """Passwords in clear, so that tests are quick."""

    passwords: Mapping[str, str] = field(default_factory=lambda: dict([ALICE, ("", "nobody's")]))
    checked: list[tuple[str, str]] = field(default_factory=list)

    def verify(self, name: str, password: str) -> None:
        self.checked.append((name, password))
        if self.passwords.get(name) != password:
            raise wrong_credentials()


class World:
    """A site, what is behind it, and the clock it goes by."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = Clock()
        folder = tempfile.mkdtemp(prefix="kipuka-web-")
        self.store = Store.open(f"sqlite:///{folder}/ledger.db")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        # Its loops are for other processes' changes and are left out; one is started for no test here.
        self.ledger = Ledger(lambda: self.store, maybeDeferred, self.clock, "web", self._happened)
        self.ledger.open()
        self.events: list[Event] = []
        self.users = FakeUsers()
        self.main = FakeAuthority("main")
        self.other = FlexibleAuthority("other")
        self.audited: list[tuple[str, dict[str, object]]] = []
        self.seen: list[bytes] = []
        self.counted: list[tuple[str, str | None, str]] = []
        """What the metrics were told of each operation: its name, the label, the outcome."""
        p384 = KeyType.parse("ec-p384")
        wants = csrattrs.encode([p384], challenge_password=False, extra=[])
        linked = csrattrs.encode([], challenge_password=True, extra=[])
        labels = [
            self._label(None),
            self._label("lab"),
            self._label("other", authority=self.other, profile="caOther"),
            self._label("mtls", ways=(frozenset({CERTIFICATE}),)),
            self._label("password", ways=(frozenset({BASIC}),)),
            self._label("both", ways=(frozenset({CERTIFICATE, BASIC}),)),
            self._label("linked", linking=True, csr_attributes=linked),
            self._label("p384", each=(checks.allowed_key_types(["ec-p384"]),), csr_attributes=wants),
            self._label("named", each=(checks.subject_pattern("CN={user}"), checks.require_san())),
            self._label("wrap76", wrap=76),
            self._label("one-line", wrap="none"),
            self._label("bare", offers_attributes=False),
            self._label("own", each=(checks.subject_pattern("CN=({user}|{cn})"),), anchors=self.main.issuer),
        ]
        passwords = Passwords(self.users, maybeDeferred)
        gate = Gate({label.name: label for label in labels}, passwords, RETRY_AFTER, self._audit, self._began)
        self.operations = EstOperations(gate, RETRY_AFTER)
        self.limits = limits or Limits()
        self.site = EstSite(
            self.operations.resource(), self.clock, self.limits, lambda request: self.seen.append(request.uri)
        )

    def client(
        self, certificate: x509.Certificate | None = None, address: str = "192.0.2.7", issuer: pki.Issuer | None = None
    ) -> Client:
        """A new connection.

        :param issuer: where the handshake has found that the certificate's path ends.
        """
        chain = () if certificate is None or issuer is None else (certificate, issuer.certificate)
        return Client(self.site, Session(certificate, chain=chain), address)

    def device(self, subject: str = "CN=device-1") -> pki.Identity:
        """A client certificate of the main CA."""
        return self.main.issuer.client(subject)

    def _audit(self, record: Record) -> None:
        self.audited.append((record.event.value, asdict(record)))

    def _began(self, operation: str, label: str | None) -> Callable[[str], None]:
        return lambda outcome: self.counted.append((operation, label, outcome))

    def _happened(self, event: Event, _row: Enrollment) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _label(
        self,
        name: str | None,
        *,
        ways: tuple[frozenset[Credential], ...] = EITHER,
        each: tuple[checks.Check, ...] = (),
        linking: bool = False,
        authority: FakeAuthority | None = None,
        profile: str | None = None,
        wrap: str | int = "auto",
        csr_attributes: bytes | None = None,
        offers_attributes: bool = True,
        anchors: pki.Issuer | None = None,
    ) -> Label:
        submitter = Submitter(authority or self.main, self.ledger)
        registration = Registration(submitter, self.ledger, TIMES, label=name, profile=profile)
        policy = Policy(ways, each, linking, None if anchors is None else frozenset({anchors.certificate}))
        return Label(name, policy, registration, wrap, csr_attributes, offers_attributes)


def body(request: x509.CertificateSigningRequest) -> bytes:
    """A CSR as a client posts it."""
    return base64.encodebytes(request.public_bytes(Encoding.DER))


def basic(name: str = ALICE[0], password: str = ALICE[1]) -> str:
    """The value of Authorization."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _alternative(csr: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
