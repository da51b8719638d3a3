"""kipuka.authority.dogtag against the real Dogtag: calls, connections, profiles, renewal."""

from __future__ import annotations

import math
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import TestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.rest.client import BODY_LIMIT, Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import EnrollmentRequest, Issued, Pending
from kipuka.errors import AuthorityError, Kind
from kipuka.tls.client import ClientPolicy
from tests.support import pki
from tests.support.dogtag.contract import connections_closed

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class CountingClient(Client):
    """Notes what is called."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls: list[str] = []

    async def get(self, path: str, limit: int = BODY_LIMIT, *, at_once: bool = False) -> Answer:
        self.calls.append(f"GET {path}")
        return await super().get(path, limit, at_once=at_once)

    async def post(self, path: str, body: bytes, send_before: float = math.inf) -> Answer:
        self.calls.append(f"POST {path}")
        return await super().post(path, body, send_before)


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
class CountingPolicy:
    """Counts TLS connections."""

    def __init__(self, policy: ClientPolicy) -> None:
        self._policy = policy
        self.connections = 0

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        self._creator = self._policy.creatorForNetloc(hostname, port)
        return self

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803 - Twisted's
        self.connections += 1
        return self._creator.clientConnectionForTLS(tlsProtocol)


class EnrollmentTests(TestCase):
    timeout = 120

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def authority(self, **options: Any) -> DogtagAuthority:
        account = self.lab.agent
        self.policy = CountingPolicy(
            ClientPolicy(
                x509.load_pem_x509_certificates(self.lab.ca_chain.read_bytes()),
                x509.load_pem_x509_certificates(account.certificate.read_bytes()),
                serialization.load_pem_private_key(account.key.read_bytes(), None),
            )
        )
        self.client = CountingClient.open(reactor, self.lab.url, self.policy, **options)
        authority = DogtagAuthority("lab", self.client, "kipukaServer", clock=reactor)
        self.addCleanup(connections_closed)
        self.addCleanup(lambda: Deferred.fromCoroutine(authority.close()))
        return authority

    async def issued(self, authority: DogtagAuthority, request: EnrollmentRequest) -> x509.Certificate:
        outcome = await authority.enroll(request)
        self.assertIsInstance(outcome, Issued)
        return outcome.certificate

    async def test_the_chain_is_the_labs(self) -> None:
        chain = await self.authority().chain()
        self.assertEqual(chain, tuple(x509.load_pem_x509_certificates(self.lab.ca_chain.read_bytes())))

    async def test_an_immediate_enrollment_is_two_calls_and_no_login(self) -> None:
        authority = self.authority()
        await self.issued(authority, request())
        self.client.calls.clear()
        certificate = await self.issued(authority, request())
        self.assertEqual(
            self.client.calls, ["POST /ca/rest/certrequests", f"GET /ca/rest/certs/{certificate.serial_number:#x}"]
        )
        self.assertEqual(self.policy.connections, 1)

    async def test_the_profile_governs_what_is_issued(self) -> None:
        authority = self.authority()
        csr = pki.csr(pki.rsa_key(), "CN=profile.kipuka.test", pki.san("profile.kipuka.test", "also.kipuka.test"))
        server = await self.issued(authority, EnrollmentRequest(csr, None, "x"))
        other = await self.issued(authority, EnrollmentRequest(csr, "caAgentServerCert", "x"))
        self.assertEqual(set(usages(server)), {SERVER, CLIENT})
        self.assertEqual(usages(other), [SERVER])

    async def test_shipped_profiles_do_not_copy_the_csrs_names(self) -> None:
        csr = pki.csr(pki.rsa_key(), "CN=cn.kipuka.test", pki.san("other.kipuka.test"))
        certificate = await self.issued(self.authority(), EnrollmentRequest(csr, "caAgentServerCert", "x"))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["cn.kipuka.test"])

    async def test_ren_04_renewal_with_the_same_and_with_another_key(self) -> None:
        authority = self.authority()
        key = pki.ec_key()
        old = await self.issued(authority, request(key))
        for csr in (request(key).csr, request().csr):
            new = await self.issued(authority, EnrollmentRequest(csr, None, "x", renews=old))
            self.assertEqual(new.public_key(), csr.public_key())
            self.assertEqual(new.subject, old.subject)
            self.assertNotEqual(new.serial_number, old.serial_number)

    async def test_a_renewal_is_governed_by_the_labels_profile_and_not_by_the_old_certificates(self) -> None:
        authority = self.authority()
        key = pki.rsa_key()
        old = await self.issued(authority, EnrollmentRequest(request(key).csr, "caAgentServerCert", "x"))
        new = await self.issued(authority, EnrollmentRequest(request(key).csr, None, "x", renews=old))
        self.assertEqual((usages(old), set(usages(new))), ([SERVER], {SERVER, CLIENT}))
        manual = EnrollmentRequest(request(key).csr, "kipukaServerManual", "x", renews=new)
        self.assertIsInstance(await authority.enroll(manual), Pending)

    async def test_hundreds_of_calls_over_kept_connections_lose_none(self) -> None:
        """Dogtag closes after 100 answers, and after each 400 and 500: none of that may look like a lost answer."""
        authority = self.authority()
        short = EnrollmentRequest(pki.csr(pki.rsa_key(1024), "CN=short"), None, "x")
        disabled = EnrollmentRequest(short.csr, "caCrossSignedCACert", "x")
        outcomes: dict[Kind, int] = {}
        for number in range(330):
            try:
                await authority.enroll(disabled if number % 110 == 109 else short)
            except AuthorityError as error:
                outcomes[error.kind] = outcomes.get(error.kind, 0) + 1
                if error.kind is Kind.MISCONFIGURED:
                    self.assertIn("not enabled", error.cause)
        self.assertEqual(outcomes, {Kind.REFUSED: 327, Kind.MISCONFIGURED: 3})
        self.assertGreaterEqual(self.policy.connections, 4)
        self.assertLess(self.policy.connections, 20)

    async def test_parallel_enrollments_share_the_connections_allowed(self) -> None:
        authority = self.authority(max_connections=3)
        certificates = await gatherResults(
            [Deferred.fromCoroutine(self.issued(authority, request())) for _ in range(12)]
        )
        self.assertEqual(len({each.serial_number for each in certificates}), 12)
        self.assertLessEqual(self.policy.connections, 3)

    async def test_the_largest_request_allowed_is_answered(self) -> None:
        names = pki.san(*(f"host-{number}.kipuka.test" for number in range(600)))
        big = EnrollmentRequest(pki.csr(pki.ec_key(), "CN=many.kipuka.test", names), None, "x")
        authority = self.authority(timeout=5)
        for _ in range(10):
            certificate = await self.issued(authority, big)
        self.assertEqual(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, names)


def request(key: pki.PrivateKey | None = None) -> EnrollmentRequest:
    csr = pki.csr(key or pki.ec_key(), "CN=device.kipuka.test", pki.san("device.kipuka.test"))
    return EnrollmentRequest(csr, None, "dogtag test")


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
