"""How the daemon ends when something behind it does not."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.service import LEAST, EstService, Listener

PATIENCE = 30


class Site:
    def __init__(self) -> None:
        self.drained: Deferred[None] = Deferred()

    def drain(self) -> Deferred[None]:
        return self.drained


class Desk:
    def __init__(self) -> None:
        self.closing: Deferred[None] = Deferred()
        self.patient = True

    def start(self) -> None:
        pass

    def let_go(self) -> None:
        self.patient = False

    async def close(self) -> None:
        await self.closing


class Stopping(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.desk, self.site = Clock(), Desk(), Site()
        site: Any = self.site
        parts: Any = (self.clock, [Listener([], None, site)], self.desk, PATIENCE, None)
        service = EstService(*parts)
        service.startService()
        self.stopped = service.stopService()

    def test_it_waits_for_what_is_being_written_down(self) -> None:
        assert not self.desk.patient
        self.site.drained.callback(None)
        self.clock.advance(PATIENCE - 1)
        self.assertNoResult(self.stopped)
        self.desk.closing.callback(None)
        self.successResultOf(self.stopped)
        assert not self.clock.getDelayedCalls()

    def test_a_database_that_stays_away_does_not_keep_it_for_ever(self) -> None:
        self.site.drained.callback(None)
        self.clock.advance(PATIENCE)
        self.successResultOf(self.stopped)
        self.desk.closing.callback(None)

    def test_clients_that_take_all_the_time_leave_a_little_for_writing_down(self) -> None:
        self.clock.advance(PATIENCE)
        self.clock.advance(LEAST - 1)
        self.assertNoResult(self.stopped)
        self.clock.advance(1)
        self.successResultOf(self.stopped)

    def test_a_desk_that_cannot_be_closed_does_not_keep_it(self) -> None:
        self.site.drained.callback(None)
        self.desk.closing.errback(RuntimeError("no"))
        self.successResultOf(self.stopped)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
