"""The contract of tests/support/dogtag/contract.py, kept by the real Dogtag."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.tls.client import ClientPolicy
from tests.support.dogtag.contract import DogtagContract, connections_closed


class LabKeepsTheContract(DogtagContract, TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def authority(self, credential: str = "agent") -> DogtagAuthority:
        account = getattr(self.lab, credential)
        policy = ClientPolicy(
            x509.load_pem_x509_certificates(self.lab.ca_chain.read_bytes()),
            x509.load_pem_x509_certificates(account.certificate.read_bytes()),
            serialization.load_pem_private_key(account.key.read_bytes(), None),
        )
        authority = DogtagAuthority.open(reactor, id="lab", url=self.lab.url, policy=policy, profile="kipukaServer")
        self.addCleanup(connections_closed)
        self.addCleanup(lambda: Deferred.fromCoroutine(authority.close()))
        return authority
