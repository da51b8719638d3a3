"""What becomes of requests while Dogtag's LDAP server is dead. Kills it: nothing else may use the lab meanwhile."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import EnrollmentRequest, Issued
from kipuka.errors import AuthorityError, Kind
from kipuka.tls.client import ClientPolicy
from tests.support import pki
from tests.support.dogtag_contract import connections_closed

LAB = Path(__file__).with_name("lab") / "lab"


def lab_command(*words: str) -> None:
    subprocess.run([LAB, *words], check=True, timeout=120, stdout=subprocess.DEVNULL)


class LDAPDownTests(TestCase):
    timeout = 180

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        account = lab.agent
        policy = ClientPolicy(
            x509.load_pem_x509_certificates(lab.ca_chain.read_bytes()),
            x509.load_pem_x509_certificates(account.certificate.read_bytes()),
            serialization.load_pem_private_key(account.key.read_bytes(), None),
        )
        self.dogtag = DogtagAuthority.open(
            reactor, id="lab", url=lab.url, policy=policy, profile="kipukaServer", cache_ttl=0
        )

    async def fails(self, call) -> AuthorityError:
        try:
            outcome = await call
        except AuthorityError as error:
            return error
        raise self.failureException(f"no error but {outcome}")

    def enroll(self, profile: str | None = None):
        csr = pki.csr(pki.ec_key(), "CN=ldap.kipuka.test", pki.san("ldap.kipuka.test"))
        return self.dogtag.enroll(EnrollmentRequest(csr, profile, "dogtag test"))

    async def test_trouble_is_told_and_over_when_ldap_is_back(self) -> None:
        self.addCleanup(connections_closed)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.dogtag.close()))
        certificate = (await self.enroll()).certificate
        self.addCleanup(deferToThread, lab_command, "start")  # does nothing when all runs
        await deferToThread(lab_command, "kill9", "ds")

        refused = await self.fails(self.enroll())
        self.assertIs(refused.kind, Kind.MISCONFIGURED)
        self.assertIn("LDAP", refused.cause)
        manual = await self.fails(self.enroll("kipukaServerManual"))
        self.assertIn(manual.kind, (Kind.BAD_ANSWER, Kind.MISCONFIGURED))
        status = await self.fails(self.dogtag.status(certificate))
        self.assertIs(status.kind, Kind.BAD_ANSWER)
        self.assertTrue(await self.dogtag.chain())

        await deferToThread(lab_command, "start")
        deadline = time.monotonic() + 60
        while True:
            try:
                outcome = await self.enroll()
                break
            except AuthorityError:
                self.assertLess(time.monotonic(), deadline)
                await deferLater(reactor, 0.5)
        self.assertIsInstance(outcome, Issued)
