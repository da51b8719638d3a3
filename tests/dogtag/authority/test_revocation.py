"""Revocation at the real Dogtag: every reason, hold and release, what was done before, nonces, agents, the clone."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Issued
from kipuka.authority.revoking import Effect, Reason, Revokes
from kipuka.errors import AuthorityError, Kind
from kipuka.tls.client import ClientPolicy
from tests.support import pki
from tests.support.dogtag.contract import connections_closed

UNKNOWN = 0x7FFFFFFF


class MeddlingClient(Client):
    """Notes what is posted, and changes it or loses answers as the test says."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.posted: list[str] = []
        self.spoil_nonces = 0
        self.lose_answers = 0

    def in_session_of_its_own(self) -> MeddlingClient:
        self.inner = super().in_session_of_its_own()
        return self.inner

    async def post(self, path: str, body: bytes, send_before: float = math.inf) -> Answer:
        if "/agent/certs/" in path:
            self.posted.append(path.rpartition("/")[2])
        if self.spoil_nonces and path.endswith("/revoke"):
            self.spoil_nonces -= 1
            body = re.sub(rb'"Nonce": -?\d+', b'"Nonce": 1', body)
        answer = await super().post(path, body, send_before)
        if self.lose_answers:
            self.lose_answers -= 1
            raise AuthorityError(Kind.NO_ANSWER, "The CA did not answer: try again later.", "lost by the test")
        return answer


class RevocationTests(TestCase):
    timeout = 120

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def setUp(self) -> None:
        self.addCleanup(connections_closed)  # the last of all: until then other authorities keep theirs

    def authority(self, credential: str = "agent", url: str | None = None) -> DogtagAuthority:
        account = getattr(self.lab, credential)
        policy = ClientPolicy(
            x509.load_pem_x509_certificates(self.lab.ca_chain.read_bytes()),
            x509.load_pem_x509_certificates(account.certificate.read_bytes()),
            serialization.load_pem_private_key(account.key.read_bytes(), None),
        )
        client = MeddlingClient.open(reactor, url or self.lab.url, policy)
        authority = DogtagAuthority("lab", client, "kipukaServer", clock=reactor)
        self.meddling = client.inner
        self.addCleanup(lambda: Deferred.fromCoroutine(authority.close()))
        return authority

    async def issued(self, authority: DogtagAuthority) -> x509.Certificate:
        outcome = await authority.enroll(
            EnrollmentRequest(pki.csr(pki.ec_key(), "CN=revocation.kipuka.test"), None, "revocation test")
        )
        self.assertIsInstance(outcome, Issued)
        return outcome.certificate

    async def failure(self, authority: DogtagAuthority, serial: int, reason: Reason) -> AuthorityError:
        try:
            result = await authority.revoke(serial, reason)
        except AuthorityError as error:
            return error
        raise self.failureException(f"no error but {result}")

    async def test_every_reason_arrives_as_itself(self) -> None:
        authority = self.authority()
        self.assertIsInstance(authority, Revokes)
        for reason in Reason:
            if reason in (Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL):
                continue
            certificate = await self.issued(authority)
            revoked = await authority.revoke(certificate.serial_number, reason)
            self.assertIs(revoked.effect, Effect.REVOKED)
            self.assertEqual(revoked.said, "revocation complete, success")
            self.assertIs(revoked.standing.reason, reason)
            self.assertEqual(revoked.standing.certificate, certificate)
            assert revoked.standing.since is not None
            self.assertLess(abs(revoked.standing.since - datetime.now(UTC)), timedelta(minutes=1))
            self.assertEqual(await authority.owns(certificate.serial_number), revoked.standing)
            self.assertIs(await authority.status(certificate), CertificateStatus.REVOKED)

    async def test_hold_and_release(self) -> None:
        authority = self.authority()
        certificate = await self.issued(authority)
        serial = certificate.serial_number
        held = await authority.revoke(serial, Reason.CERTIFICATE_HOLD)
        self.assertEqual((held.effect, held.standing.reason), (Effect.ON_HOLD, Reason.CERTIFICATE_HOLD))
        self.assertIs(await authority.status(certificate), CertificateStatus.REVOKED)
        again = await authority.revoke(serial, Reason.CERTIFICATE_HOLD)
        self.assertEqual((again.effect, again.said), (Effect.ON_HOLD, ""))
        released = await authority.revoke(serial, Reason.REMOVE_FROM_CRL)
        self.assertEqual((released.effect, released.standing.reason), (Effect.RELEASED, None))
        self.assertEqual(released.said, "unrevocation complete, success")
        self.assertIs(await authority.status(certificate), CertificateStatus.GOOD)
        self.assertIs((await authority.revoke(serial, Reason.REMOVE_FROM_CRL)).effect, Effect.NOT_ON_HOLD)
        self.assertEqual(self.meddling.posted, ["revoke", "unrevoke"])

    async def test_from_hold_to_another_reason_over_release(self) -> None:
        authority = self.authority()
        serial = (await self.issued(authority)).serial_number
        await authority.revoke(serial, Reason.CERTIFICATE_HOLD)
        revoked = await authority.revoke(serial, Reason.KEY_COMPROMISE)
        self.assertEqual((revoked.effect, revoked.standing.reason), (Effect.REVOKED, Reason.KEY_COMPROMISE))
        self.assertEqual(self.meddling.posted, ["revoke", "unrevoke", "revoke"])

    async def test_what_is_revoked_stays_so_and_that_is_no_error(self) -> None:
        authority = self.authority()
        serial = (await self.issued(authority)).serial_number
        first = await authority.revoke(serial, Reason.SUPERSEDED)
        for reason in (Reason.SUPERSEDED, Reason.KEY_COMPROMISE, Reason.CERTIFICATE_HOLD):
            again = await authority.revoke(serial, reason)
            self.assertEqual((again.effect, again.standing), (Effect.ALREADY_REVOKED, first.standing))
        error = await self.failure(authority, serial, Reason.REMOVE_FROM_CRL)
        self.assertIs(error.kind, Kind.CONFLICT)
        self.assertIn("superseded", error.text)

    async def test_a_number_without_a_certificate_is_not_found(self) -> None:
        authority = self.authority()
        self.assertIsNone(await authority.owns(UNKNOWN))
        for reason in (Reason.UNSPECIFIED, Reason.REMOVE_FROM_CRL):
            self.assertIs((await self.failure(authority, UNKNOWN, reason)).kind, Kind.NOT_FOUND)

    async def test_a_wrong_nonce_is_fetched_again_once(self) -> None:
        authority = self.authority()
        serial = (await self.issued(authority)).serial_number
        self.meddling.spoil_nonces = 2
        error = await self.failure(authority, serial, Reason.SUPERSEDED)
        self.assertIs(error.kind, Kind.MISCONFIGURED)
        self.assertIn("nonce", error.cause.lower())
        self.assertEqual(self.meddling.posted, ["revoke", "revoke"])
        self.meddling.spoil_nonces = 1
        self.assertIs((await authority.revoke(serial, Reason.SUPERSEDED)).effect, Effect.REVOKED)

    async def test_a_lost_answer_is_found_out(self) -> None:
        authority = self.authority()
        serial = (await self.issued(authority)).serial_number
        self.meddling.lose_answers = 1
        revoked = await authority.revoke(serial, Reason.SUPERSEDED)
        self.assertEqual((revoked.effect, revoked.said), (Effect.REVOKED, ""))
        self.assertEqual(self.meddling.posted, ["revoke"])

    async def test_many_at_once_do_not_take_each_others_nonces(self) -> None:
        authority = self.authority()
        certificates = [await self.issued(authority) for _ in range(8)]
        results = await gatherResults(
            [Deferred.fromCoroutine(authority.revoke(each.serial_number, Reason.SUPERSEDED)) for each in certificates]
        )
        self.assertEqual({each.effect for each in results}, {Effect.REVOKED})
        self.assertEqual(self.meddling.posted, ["revoke"] * 8)

    async def test_who_is_no_agent_may_look_and_not_revoke(self) -> None:
        serial = (await self.issued(self.authority())).serial_number
        for credential in ("user", "stranger"):
            authority = self.authority(credential)
            self.assertIsNotNone(await authority.owns(serial))
            error = await self.failure(authority, serial, Reason.SUPERSEDED)
            self.assertIs(error.kind, Kind.MISCONFIGURED)
            self.assertIn("agent certificate", error.cause)

    async def test_the_cas_own_certificate_is_left_alone(self) -> None:
        authority = self.authority()
        ca = (await authority.chain())[0]
        error = await self.failure(authority, ca.serial_number, Reason.SUPERSEDED)
        self.assertIs(error.kind, Kind.CONFLICT)
        self.assertEqual(self.meddling.posted, [])

    async def test_a_clone_revokes_what_the_other_issued(self) -> None:
        if self.lab.clone_url is None:
            self.skipTest("the lab has no clone: lab up --second")
        first = self.authority()
        certificate = await self.issued(first)
        clone = self.authority(url=self.lab.clone_url)
        for _ in range(100):  # until it is replicated
            if await clone.owns(certificate.serial_number) is not None:
                break
            await deferLater(reactor, 0.5)
        revoked = await clone.revoke(certificate.serial_number, Reason.CESSATION_OF_OPERATION)
        self.assertIs(revoked.effect, Effect.REVOKED)
