"""What a real Dogtag answers to probes."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority, Subsystem
from kipuka.errors import AuthorityError, Kind
from kipuka.tls.client import ClientPolicy
from tests.support.dogtag.contract import connections_closed


class ProbeTests(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def policy(self, credential: str) -> ClientPolicy:
        account = getattr(self.lab, credential)
        return ClientPolicy(
            x509.load_pem_x509_certificates(self.lab.ca_chain.read_bytes()),
            x509.load_pem_x509_certificates(account.certificate.read_bytes()),
            serialization.load_pem_private_key(account.key.read_bytes(), None),
        )

    def dogtag(self, **more: object) -> DogtagAuthority:
        authority = DogtagAuthority.open(
            reactor, id="lab", url=self.lab.url, policy=self.policy("agent"), profile="kipukaServer", **more
        )
        self.addCleanup(connections_closed)
        self.addCleanup(lambda: Deferred.fromCoroutine(authority.close()))
        return authority

    async def test_a_ca_that_works_is_well(self) -> None:
        await self.dogtag().probe()

    async def test_a_certificate_the_directory_does_not_have_is_a_sign_of_life(self) -> None:
        await self.dogtag(paths={"probe": "/ca/rest/certs/0x7fffffffffffffff"}).probe()

    def kra(self, credential: str) -> Subsystem:
        subsystem = Subsystem.open(Subsystem.kra, reactor, self.lab.url, self.policy(credential))
        self.addCleanup(connections_closed)
        self.addCleanup(lambda: Deferred.fromCoroutine(subsystem.close()))
        return subsystem

    async def test_a_kra_that_knows_its_agent_is_well(self) -> None:
        await self.kra("agent").probe()

    async def refused(self, credential: str) -> None:
        try:
            await self.kra(credential).probe()
        except AuthorityError as trouble:
            self.assertIs(trouble.kind, Kind.MISCONFIGURED)
        else:
            self.fail(credential)

    async def test_a_kra_is_not_well_for_who_is_no_agent_of_it(self) -> None:
        await self.refused("user")

    async def test_a_kra_is_not_well_for_who_is_unknown_to_it(self) -> None:
        await self.refused("stranger")
