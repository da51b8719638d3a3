"""Following pending requests at the real Dogtag."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority, tracking
from kipuka.authority.interface import EnrollmentRequest, Issued, Pending, Refused, Undecided
from kipuka.errors import AuthorityError
from tests.chaos.dogtag import Dogtag
from tests.dogtag.authority.requests import MANUAL, authority
from tests.support import pki
from tests.support.dogtag.contract import connections_closed


class TrackingTests(TestCase):
    timeout = 300

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    def setUp(self) -> None:
        self.addCleanup(connections_closed)
        self.agent = Dogtag(self.lab)
        self.addCleanup(self.agent.close)
        self.ca = self.opened(self.lab.url)

    def opened(self, url: str, account: Any = None) -> DogtagAuthority:
        ca = authority(reactor, self.lab, url, account)
        self.addCleanup(lambda: Deferred.fromCoroutine(ca.close()))
        return ca

    async def waiting(self, ca: DogtagAuthority | None = None) -> str:
        csr = pki.csr(pki.ec_key(), "CN=tracked.kipuka.test")
        outcome = await (ca or self.ca).enroll(EnrollmentRequest(csr, MANUAL, "dogtag test"))
        self.assertIsInstance(outcome, Pending)
        return outcome.request_id

    async def decide(self, number: str, decision: str, notes: str | None = None) -> None:
        def decided() -> None:
            document = self.agent.review(int(number))
            if notes is not None:
                document["requestNotes"] = notes
            self.agent.decide(document, decision)

        await deferToThread(decided)

    async def test_more_than_a_hundred_are_listed_in_one_call(self) -> None:
        """Without maxResults Dogtag stops at 100 and says nothing."""
        numbers = {await self.waiting() for _ in range(105)}
        pending = await self.ca.still_pending(len(numbers))
        self.assertTrue(pending.complete)
        self.assertLessEqual(numbers, pending.ids)

    async def test_a_list_cut_short_is_recognised_and_the_next_is_long_enough(self) -> None:
        numbers = {await self.waiting() for _ in range(8)}
        self.patch(tracking, "_SPARE", 4)
        cut = await self.ca.still_pending(1)
        self.assertFalse(cut.complete)
        self.assertEqual(len(cut.ids), 6)
        for _ in range(20):
            pending = await self.ca.still_pending(1)
            if pending.complete:
                break
        self.assertLessEqual(numbers, pending.ids)

    async def test_an_approved_request_vanishes_and_comes_with_its_certificate(self) -> None:
        number = await self.waiting()
        self.assertIn(number, (await self.ca.still_pending(1)).ids)
        self.assertEqual(await self.ca.progress(number), Pending(number))
        await self.decide(number, "approve")
        self.assertNotIn(number, (await self.ca.still_pending(1)).ids)
        outcome = await self.ca.progress(number)
        self.assertIsInstance(outcome, Issued)
        serial = hex(outcome.certificate.serial_number)
        theirs = await deferToThread(self.agent.certificate, serial)
        self.assertEqual(theirs.public_bytes(Encoding.DER), outcome.certificate.public_bytes(Encoding.DER))

    async def test_an_agents_refusal_comes_with_his_reason(self) -> None:
        for decision, status in (("reject", "rejected"), ("cancel", "canceled")):
            for notes in ("Serial number 7/\u2603 is not ours;\nask room 12", None):
                number = await self.waiting()
                await self.decide(number, decision, notes)
                reason = f"{status}: Serial number 7/\u2603 is not ours; ask room 12" if notes else status
                self.assertEqual(await self.ca.progress(number), Refused(reason))
                self.assertNotIn(number, (await self.ca.still_pending(1)).ids)

    async def test_an_assigned_or_edited_request_is_still_pending(self) -> None:
        number = await self.waiting()
        for decision in ("assign", "update", "validate", "unassign"):
            await self.decide(number, decision, "looking into it")
            self.assertEqual(await self.ca.progress(number), Pending(number))
        self.assertIn(number, (await self.ca.still_pending(1)).ids)

    async def test_a_number_that_never_was_decides_nothing(self) -> None:
        self.assertIsInstance(await self.ca.progress("987654321"), Undecided)

    async def test_without_the_agents_group_there_is_no_list(self) -> None:
        for account in (self.lab.user, self.lab.stranger):
            with self.assertRaises(AuthorityError):
                await self.opened(self.lab.url, account).still_pending(1)

    async def test_the_clone_knows_the_request_a_moment_later(self) -> None:
        if self.lab.clone_url is None:
            pytest.fail("this lab has no clone: bring it up with --second")
        clone = self.opened(self.lab.clone_url)
        number = await self.waiting()
        outcomes = [await clone.progress(number)]
        while not isinstance(outcomes[-1], Pending):
            self.assertIsInstance(outcomes[-1], Undecided)  # 404 or "begin" meanwhile, never an end
            outcomes.append(await clone.progress(number))
        while number not in (await clone.still_pending(1)).ids:
            pass
        await self.decide(number, "approve")
        while isinstance(outcomes[-1], Pending | Undecided):
            outcomes.append(await clone.progress(number))
        self.assertIsInstance(outcomes[-1], Issued)
