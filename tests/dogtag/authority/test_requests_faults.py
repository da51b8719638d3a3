"""Requests at a Dogtag that dies, and what is found of them. Kills it: nothing else may use the lab meanwhile."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from kipuka.authority.interface import (
    Absent,
    EnrollmentRequest,
    Finding,
    InProgress,
    Issued,
    Outcome,
    Pending,
    Undecided,
)
from kipuka.errors import AuthorityError, Kind
from tests.chaos.dogtag import Dogtag
from tests.dogtag.authority.requests import MANUAL, authority, key
from tests.dogtag.lab_control import kill, start
from tests.support import pki
from tests.support.dogtag.contract import connections_closed

CLOCKS = timedelta(minutes=1)
PARALLEL = 8
NOTHING_DONE = {Kind.UNREACHABLE, Kind.BUSY, Kind.MISCONFIGURED}


class FaultTests(TestCase):
    timeout = 600

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def setUp(self) -> None:
        self.addCleanup(connections_closed)
        self.since = datetime.now(UTC) - CLOCKS
        self.ca = authority(reactor, self.lab, self.lab.url)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.ca.close()))
        self.addCleanup(deferToThread, start)

    async def test_while_ldap_is_down_nothing_ends_and_nothing_is_absent(self) -> None:
        csr = pki.csr(pki.ec_key(), "CN=faults.kipuka.test")
        pending = await self.ca.enroll(EnrollmentRequest(csr, MANUAL, "dogtag test"))
        self.assertIsInstance(pending, Pending)
        await deferToThread(kill, "ds")
        down = 0
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            self.assertIsInstance(await self.ca.progress(pending.request_id), Pending | Undecided)
            down += isinstance(await self.ca.progress(pending.request_id), Undecided)
            for call in (self.ca.still_pending(1), self.ca.find(key(csr), "CN=x", self.since, frozenset())):
                try:
                    await call
                except AuthorityError:
                    continue
                self.assertEqual(down, 0)  # the very first moment
        self.assertGreater(down, 3)
        await self.restarted()
        self.assertEqual(await self.ca.progress(pending.request_id), pending)
        self.assertIn(pending.request_id, (await self.ca.still_pending(1)).ids)
        self.assertEqual(await self.find(csr), pending)

    async def test_what_ldap_took_with_it_is_found(self) -> None:
        await self.everything_is_found_after("ds")

    async def test_what_tomcat_took_with_it_is_found(self) -> None:
        await self.everything_is_found_after("ca")

    async def everything_is_found_after(self, victim: str) -> None:
        """Kill under load until a request was left in "begin", and compare what is found with what is there."""
        for attempt in range(4):
            name = f"{victim}{attempt}-{time.time():.0f}"
            ended = await self.killed_under_load(victim, name)
            await self.restarted()
            agent = Dogtag(self.lab)
            self.addCleanup(agent.close)
            issued = {key(each): each for each in await deferToThread(agent.certificates, name)}
            found = [(each, outcome, await self.find(each)) for each, outcome in ended]
            for csr, outcome, finding in found:
                self.consistent(csr, outcome, finding, issued)
            if any(isinstance(finding, InProgress) for _, _, finding in found):
                return
        self.fail('no kill left a request in state "begin"')

    def consistent(
        self,
        csr: x509.CertificateSigningRequest,
        outcome: Outcome | AuthorityError,
        finding: Finding,
        issued: dict[str, x509.Certificate],
    ) -> None:
        if key(csr) in issued:
            self.assertEqual(finding, Issued(issued[key(csr)]))
        else:
            self.assertIsInstance(finding, Pending | InProgress | Absent)
        if isinstance(outcome, AuthorityError):
            if outcome.kind in NOTHING_DONE:
                self.assertEqual(finding, Absent(), outcome)
        else:
            self.assertEqual(finding, outcome)

    async def killed_under_load(
        self, victim: str, name: str
    ) -> list[tuple[x509.CertificateSigningRequest, Outcome | AuthorityError]]:
        """Enroll in parallel until each of the clients has met trouble."""
        ended: list[tuple[x509.CertificateSigningRequest, Outcome | AuthorityError]] = []

        async def client(number: int) -> None:
            outcome: Outcome | AuthorityError | None = None
            while not isinstance(outcome, AuthorityError):
                csr = pki.csr(pki.ec_key(), f"CN={name}-{number}-{len(ended)}")
                try:
                    outcome = await self.ca.enroll(
                        EnrollmentRequest(csr, None if number % 4 else MANUAL, "dogtag test")
                    )
                except AuthorityError as error:
                    outcome = error
                ended.append((csr, outcome))

        clients = gatherResults([Deferred.fromCoroutine(client(number)) for number in range(PARALLEL)])
        await deferLater(reactor, 1.5)
        await deferToThread(kill, victim)
        await clients
        return ended

    async def restarted(self) -> None:
        await deferLater(reactor, 5)  # 389-ds does not start while the killed one still has its entry in /proc
        await deferToThread(start)
        deadline = time.monotonic() + 60
        while True:
            try:
                await self.ca.still_pending(1)
            except AuthorityError:
                self.assertLess(time.monotonic(), deadline)
                await deferLater(reactor, 0.5)
                continue
            return

    async def find(self, csr: x509.CertificateSigningRequest) -> Finding:
        """Look up to the end: the lab is full of others' requests, which are read bit by bit."""
        while True:
            try:
                return await self.ca.find(key(csr), csr.subject.rfc4514_string(), self.since, frozenset())
            except AuthorityError as more:
                self.assertIs(more.kind, Kind.BUSY, more)
