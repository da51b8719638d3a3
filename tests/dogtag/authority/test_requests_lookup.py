"""Finding requests whose answer was lost at the real Dogtag."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import Absent, EnrollmentRequest, Finding, InProgress, Issued, Pending
from kipuka.errors import AuthorityError, Kind
from tests.chaos.dogtag import Dogtag
from tests.dogtag.authority.requests import MANUAL, authority, key, submit_and_hang_up
from tests.support import pki
from tests.support.dogtag.contract import connections_closed

CLOCKS = timedelta(minutes=1)
# What LDAP filters, RFC 4514 and JSON each escape in their own way.
NAMES = (
    "plain.kipuka.test",
    "star*",
    "(&(cn=*))",
    "back\\slash",
    "comma, and+plus=equals",
    '"quoted" <x>; y',
    "#hash",
    "Ünïcødé ☃ 😀",
    " spaces ",
    "two  spaces",
    "UPPER lower",
    "x" * 64,
)


class LookupTests(TestCase):
    timeout = 300

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def setUp(self) -> None:
        self.addCleanup(connections_closed)
        self.since = datetime.now(UTC) - CLOCKS
        self.ca = self.opened(self.lab.url)
        self.fresh = self.opened(self.lab.url)  # has seen nothing of what the other one did

    def opened(self, url: str) -> DogtagAuthority:
        ca = authority(reactor, self.lab, url)
        self.addCleanup(lambda: Deferred.fromCoroutine(ca.close()))
        return ca

    async def find(
        self,
        csr: x509.CertificateSigningRequest,
        ca: DogtagAuthority | None = None,
        *,
        subject: str | None = None,
        since: datetime | None = None,
        known: tuple[str, ...] = (),
    ) -> Finding:
        """Look up to the end: the lab is full of others' requests, which are read bit by bit."""
        while True:
            try:
                return await (ca or self.fresh).find(
                    key(csr),
                    csr.subject.rfc4514_string() if subject is None else subject,
                    since or self.since,
                    frozenset(known),
                )
            except AuthorityError as more:
                self.assertIs(more.kind, Kind.BUSY, more)

    async def enroll(self, csr: x509.CertificateSigningRequest, profile: str | None = None) -> Issued | Pending:
        return await self.ca.enroll(EnrollmentRequest(csr, profile, "dogtag test"))

    async def test_certificates_are_found_whatever_their_common_name(self) -> None:
        for name in NAMES:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            csr = pki.csr(pki.ec_key(), subject)
            issued = await self.enroll(csr)
            self.assertEqual(await self.find(csr), issued, name)

    async def test_certificates_are_found_by_name_alone(self) -> None:
        """Not only by the search over all that was issued, which would hide that the other one fails."""
        for name in NAMES:
            csr = pki.csr(pki.ec_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            issued = await self.enroll(csr)
            fresh = self.opened(self.lab.url)
            calls: list[str] = []
            get = fresh._client.get

            async def noting(path: str, *arguments: int, calls=calls, get=get, **options: object) -> object:
                calls.append(path)
                return await get(path, *arguments, **options)

            fresh._client.get = noting
            self.assertEqual(await self.find(csr, fresh), issued, name)
            self.assertFalse([path for path in calls if "/agent/" in path], name)

    async def test_certificates_without_or_under_another_common_name_are_found(self) -> None:
        csr = pki.csr(pki.ec_key(), "O=no common name")
        issued = await self.enroll(csr)
        for subject in (csr.subject.rfc4514_string(), "CN=another", "nonsense"):
            self.assertEqual(await self.find(csr, subject=subject), issued)

    async def test_the_key_decides_and_what_is_known_is_left_out(self) -> None:
        subject, same = "CN=same.kipuka.test", pki.ec_key()
        first = await self.enroll(pki.csr(same, subject))
        other = pki.csr(pki.ec_key(), subject)
        await self.enroll(other)
        csr = pki.csr(same, subject)
        known = (hex(first.certificate.serial_number),)
        self.assertEqual(await self.find(csr), first)
        self.assertEqual(await self.find(csr, known=known), Absent())
        second = await self.enroll(csr)
        self.assertEqual(await self.find(csr, known=known), second)

    async def test_issuing_time_counts_by_the_second_and_inclusively(self) -> None:
        csr = pki.csr(pki.ec_key(), "CN=seconds.kipuka.test")
        issued = await self.enroll(csr)
        agent = Dogtag(self.lab)
        self.addCleanup(agent.close)
        body = {"subjectInUse": True, "commonName": "seconds.kipuka.test", "matchExactly": True}
        entries = (await deferToThread(agent._call, "POST", "/ca/rest/certs/search?size=1000", body))["entries"]
        entry = next(each for each in entries if int(each["id"], 16) == issued.certificate.serial_number)
        moment = datetime.fromtimestamp(int(entry["IssuedOn"]) / 1000, UTC)
        self.assertEqual(await self.find(csr, since=moment + timedelta(milliseconds=999)), issued)
        self.assertEqual(await self.find(csr, since=moment + timedelta(seconds=1)), Absent())

    async def test_pending_requests_are_found_and_their_certificate_once_there_is_one(self) -> None:
        csr = pki.csr(pki.ec_key(), "CN=lost.kipuka.test")
        pending = await self.enroll(csr, MANUAL)
        self.assertEqual(await self.find(csr), pending)
        self.assertEqual(await self.find(csr, self.opened(self.lab.url), known=(pending.request_id,)), Absent())
        agent = Dogtag(self.lab)
        self.addCleanup(agent.close)
        await deferToThread(lambda: agent.decide(agent.review(int(pending.request_id)), "approve"))
        found = await self.find(csr)
        self.assertEqual(found, await self.ca.progress(pending.request_id))

    async def test_what_never_was_is_absent(self) -> None:
        self.assertEqual(await self.find(pki.csr(pki.ec_key(), "CN=never.kipuka.test")), Absent())

    async def test_a_connection_closed_before_the_answer_loses_nothing(self) -> None:
        for profile, expected in (("kipukaServer", Issued), (MANUAL, Pending)):
            csr = pki.csr(pki.ec_key(), "CN=hung-up.kipuka.test")
            await deferToThread(submit_and_hang_up, self.lab, csr, profile)
            found: Finding = Absent()
            for _ in range(100):
                found = await self.find(csr)
                if not isinstance(found, Absent | InProgress):
                    break
                await deferLater(reactor, 0.1)
            self.assertIsInstance(found, expected)

    async def test_the_clone_has_it_a_moment_later(self) -> None:
        if self.lab.clone_url is None:
            pytest.fail("this lab has no clone: bring it up with --second")
        clone = self.opened(self.lab.clone_url)
        for profile in (None, MANUAL):
            csr = pki.csr(pki.ec_key(), "CN=replicated.kipuka.test")
            outcome = await self.enroll(csr, profile)
            for _ in range(100):
                found = await self.find(csr, clone)
                if not isinstance(found, Absent | InProgress):
                    break
                await deferLater(reactor, 0.2)
            self.assertEqual(found, outcome)
