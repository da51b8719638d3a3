"""What becomes of requests while Dogtag's LDAP server is dead. Kills it: nothing else may use the lab meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import EnrollmentRequest, Pending
from kipuka.errors import AuthorityError, Kind
from kipuka.tls.client import ClientPolicy
from tests.dogtag.lab_control import kill, start
from tests.support import pki
from tests.support.dogtag.contract import connections_closed


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
        self.addCleanup(deferToThread, start)
        await deferToThread(kill, "ds")
        await self.until(lambda: self.fails_quietly(self.dogtag.status(certificate)))

        refused = await self.fails(self.enroll())
        self.assertIs(refused.kind, Kind.MISCONFIGURED)
        self.assertIn("LDAP", refused.cause)
        phantom = await self.fails(self.enroll("kipukaServerManual"))
        self.assertIs(phantom.kind, Kind.NO_ANSWER)
        self.assertIn("not to be found", phantom.cause)
        self.assertIs((await self.fails(self.dogtag.status(certificate))).kind, Kind.BAD_ANSWER)
        self.assertTrue(await self.dogtag.chain())

        await deferLater(reactor, 5)  # 389-ds does not start while the killed one still has its entry in /proc
        await deferToThread(start)
        await self.until(lambda: self.succeeds(self.enroll()))
        self.assertIsInstance(await self.enroll("kipukaServerManual"), Pending)

    async def until(self, condition: Any) -> None:
        deadline = time.monotonic() + 60
        while not await condition():
            self.assertLess(time.monotonic(), deadline)
            await deferLater(reactor, 0.5)

    async def succeeds(self, call: Any) -> bool:
        try:
            await call
        except AuthorityError:
            return False
        return True

    async def fails_quietly(self, call: Any) -> bool:
        return not await self.succeeds(call)
