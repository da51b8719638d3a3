"""What kipuka's Dogtag client finds at a Dogtag: one set of tests for the real one, its recording and the stand-in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Issued, Pending
from kipuka.errors import AuthorityError, Kind
from tests.support import pki

NAMES = pki.san("contract.kipuka.test", "192.0.2.7")


def connections_closed() -> Deferred[None]:
    """Wait for connections that are just being closed: a trial test may leave none behind."""
    from twisted.internet import reactor

    async def wait() -> None:
        while any(isinstance(each, Connection) for each in reactor.getReaders()):
            await deferLater(reactor, 0.01)

    return Deferred.fromCoroutine(wait())


CSRS = {
    "rsa": lambda: pki.csr(pki.rsa_key(), "CN=contract.kipuka.test", NAMES),
    "ec": lambda: pki.csr(pki.ec_key(), "CN=contract.kipuka.test", NAMES),
    "short": lambda: pki.csr(pki.rsa_key(1024), "CN=short.kipuka.test"),
    "broken": lambda: _broken(pki.csr(pki.ec_key(), "CN=broken.kipuka.test")),
    "user": lambda: pki.csr(pki.rsa_key(), "CN=Contract User,UID=contract"),
}
"""The CSRs of the tests by name; a recording can only be asked what it was asked before."""


def _broken(csr: x509.CertificateSigningRequest) -> x509.CertificateSigningRequest:
    der = bytearray(csr.public_bytes(Encoding.DER))
    der[der.index(b"broken")] ^= 1  # the subject no longer is what was signed
    return x509.load_der_x509_csr(bytes(der))


if TYPE_CHECKING:  # what it is mixed into
    _Case = TestCase
else:
    _Case = object


class DogtagContract(_Case):
    """Mixed into a trial TestCase that says where the Dogtag is."""

    def authority(self, credential: str = "agent") -> DogtagAuthority:
        """Return a Dogtag as seen by kipuka with that certificate."""
        raise NotImplementedError

    def csr(self, name: str) -> x509.CertificateSigningRequest:
        """Return the CSR of that name."""
        return CSRS[name]()

    async def enroll(
        self, csr: x509.CertificateSigningRequest, profile: str | None = None, credential: str = "agent"
    ) -> Issued | Pending:
        request = EnrollmentRequest(csr, profile, "contract test")
        return await self.authority(credential).enroll(request)

    async def failure(self, name: str, profile: str | None = None, credential: str = "agent") -> AuthorityError:
        try:
            outcome = await self.enroll(self.csr(name), profile, credential)
        except AuthorityError as error:
            return error
        raise self.failureException(f"no error but {outcome}")

    async def test_the_chain_is_the_ca_certificate_up_to_its_root(self) -> None:
        chain = await self.authority().chain()
        self.assertEqual(chain[-1].issuer, chain[-1].subject)
        for certificate, issuer in itertools.pairwise(chain):
            certificate.verify_directly_issued_by(issuer)

    async def test_enr_03_an_rsa_key_is_certified_at_once_with_the_names_of_the_csr(self) -> None:
        await self._issued("rsa")

    async def test_enr_03_an_ec_key_is_certified_at_once_with_the_names_of_the_csr(self) -> None:
        await self._issued("ec")

    async def _issued(self, name: str) -> None:
        csr = self.csr(name)
        outcome = await self.enroll(csr)
        self.assertIsInstance(outcome, Issued)
        self.assertEqual(_spki(outcome.certificate), _spki(csr))
        self.assertEqual(outcome.certificate.subject, csr.subject)
        names = outcome.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names, NAMES)

    async def test_what_policy_refuses_is_refused_with_its_reason(self) -> None:
        error = await self.failure("short")
        self.assertIs(error.kind, Kind.REFUSED)
        self.assertIn("Key Parameters", error.text)

    async def test_a_profile_without_authenticator_leaves_the_request_pending(self) -> None:
        outcome = await self.enroll(self.csr("ec"), "kipukaServerManual")
        self.assertIsInstance(outcome, Pending)
        self.assertRegex(outcome.request_id, "^[0-9]+$")

    async def test_an_unknown_profile_is_the_administrators_business(self) -> None:
        error = await self.failure("ec", "nosuchProfile")
        self.assertIs(error.kind, Kind.MISCONFIGURED)
        self.assertIn("nosuchProfile", error.cause)
        self.assertNotIn("nosuchProfile", error.text)

    async def test_a_disabled_profile_is_the_administrators_business(self) -> None:
        error = await self.failure("ec", "caCrossSignedCACert")
        self.assertIs(error.kind, Kind.MISCONFIGURED)
        self.assertIn("not enabled", error.cause)

    async def test_a_profile_that_takes_no_csr_is_the_administrators_business(self) -> None:
        error = await self.failure("ec", "caManualRenewal")
        self.assertIs(error.kind, Kind.MISCONFIGURED)
        self.assertIn("does not take a CSR", error.cause)

    async def test_a_broken_signature_is_the_requests_fault_though_dogtag_says_500(self) -> None:
        error = await self.failure("broken")
        self.assertIs(error.kind, Kind.INVALID)

    async def test_a_user_without_the_agents_group_is_told_apart_from_a_refusal(self) -> None:
        error = await self.failure("ec", credential="user")
        self.assertIs(error.kind, Kind.MISCONFIGURED)
        self.assertIn("Authorization Error", error.cause)

    async def test_a_certificate_of_no_user_is_told_apart_from_a_refusal(self) -> None:
        error = await self.failure("ec", credential="stranger")
        self.assertIs(error.kind, Kind.MISCONFIGURED)
        self.assertIn("LDAP", error.cause)

    async def test_a_profile_with_a_subject_form_gets_the_csrs_subject(self) -> None:
        self.assertIsInstance(await self.enroll(self.csr("user"), "caUserCert"), Pending)

    async def test_the_cas_own_certificate_is_good_by_its_word(self) -> None:
        authority = self.authority()
        chain = await authority.chain()
        self.assertIs(await authority.status(chain[0]), CertificateStatus.GOOD)

    async def test_a_certificate_of_another_ca_is_unknown(self) -> None:
        other = x509.load_pem_x509_certificate(OTHER)
        self.assertIs(await self.authority().status(other), CertificateStatus.UNKNOWN)

    async def test_rev_a_serial_number_that_another_ca_used_too_is_unknown(self) -> None:
        authority = self.authority()
        ca = (await authority.chain())[0]
        other = pki.root().certify(pki.ec_key(), "CN=same serial", serial=ca.serial_number)
        self.assertIs(await authority.status(other), CertificateStatus.UNKNOWN)


def _spki(source: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return source.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# Fixed, because its serial number is in the recording.
OTHER = b"""-----BEGIN CERTIFICATE-----
MIIBYTCCAQigAwIBAgIIXu1e7V7tXu0wCgYIKoZIzj0EAwIwGDEWMBQGA1UEAwwN
U29tZSBPdGhlciBDQTAeFw0yNjExMjMxNDQ1MDdaFw0yNjExMjQxNTQ1MDdaMBIx
EDAOBgNVBAMMB2ZvcmVpZ24wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASHscGN
q5NJjTGip3VLgsVjJOjnpT3jvQ7nCArgmZGQbXRazud+tPQ3MUF8VFxlw6UnSg6F
RPqdwphJf3KMJAvoo0IwQDAdBgNVHQ4EFgQUyluduUrSNqjaH2qj+p54laEJArEw
HwYDVR0jBBgwFoAUEiGR0KJaVQDFhufKEyRxsc3txQQwCgYIKoZIzj0EAwIDRwAw
RAIgYvB+gO6ehCBIjXRJmdj0ezdmsidBmhJdx8fRFngTPFACID73LQlRBLCqkAL0
bvyD4PP4cut9xJPDKMnpYNnJJCRk
-----END CERTIFICATE-----
"""
