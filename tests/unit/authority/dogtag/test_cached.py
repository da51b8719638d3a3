"""kipuka.authority.dogtag.cached: one fetch for all who wait, and the old value when a new one is not to be had."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.authority.dogtag.cached import Cached


class SickError(Exception):
    """The source fails."""


class CachedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)  # as far from zero as a real clock
        self.fetches: list[Deferred[str]] = []

    def cached(self, ttl: float | None = 60, *, behind: bool = False) -> Cached[str]:
        async def fetch() -> str:
            self.fetches.append(Deferred())
            return await self.fetches[-1]

        return Cached(fetch, self.clock, ttl, behind=behind)

    def ask(self, cached: Cached[str]) -> Deferred[str]:
        return Deferred.fromCoroutine(cached.get())

    def test_callers_who_come_during_a_fetch_share_it(self) -> None:
        cached = self.cached()
        first, second = self.ask(cached), self.ask(cached)
        self.fetches[0].callback("value")
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("value", "value"))
        self.assertEqual(self.successResultOf(self.ask(cached)), "value")
        self.assertEqual(len(self.fetches), 1)

    def test_a_caller_who_gives_up_does_not_end_the_fetch_of_the_others(self) -> None:
        cached = self.cached()
        first, second = self.ask(cached), self.ask(cached)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.fetches[0].callback("value")
        self.assertEqual(self.successResultOf(second), "value")

    def test_all_who_wait_hear_of_a_failure_and_the_next_tries_again(self) -> None:
        cached = self.cached()
        first, second = self.ask(cached), self.ask(cached)
        self.fetches[0].errback(SickError())
        self.failureResultOf(first, SickError)
        self.failureResultOf(second, SickError)
        third = self.ask(cached)
        self.fetches[1].callback("value")
        self.assertEqual(self.successResultOf(third), "value")

    def test_a_value_is_fetched_again_when_its_time_is_over(self) -> None:
        cached = self.cached(ttl=60)
        self.ask(cached)
        self.fetches[0].callback("old")
        self.clock.advance(59)
        self.assertEqual(self.successResultOf(self.ask(cached)), "old")
        self.clock.advance(2)
        asked = self.ask(cached)
        self.fetches[1].callback("new")
        self.assertEqual(self.successResultOf(asked), "new")

    def test_without_a_ttl_a_value_stays_until_forgotten(self) -> None:
        cached = self.cached(ttl=None)
        self.ask(cached)
        self.fetches[0].callback("old")
        self.clock.advance(10**9)
        self.assertEqual(self.successResultOf(self.ask(cached)), "old")
        cached.forget()
        asked = self.ask(cached)
        self.fetches[1].callback("new")
        self.assertEqual(self.successResultOf(asked), "new")

    def test_an_old_value_serves_while_the_source_fails_and_the_source_is_left_alone(self) -> None:
        cached = self.cached(ttl=60)
        self.ask(cached)
        self.fetches[0].callback("old")
        self.clock.advance(61)
        asked = self.ask(cached)
        self.fetches[1].errback(SickError())
        self.assertEqual(self.successResultOf(asked), "old")
        self.clock.advance(9)
        self.assertEqual(self.successResultOf(self.ask(cached)), "old")
        self.assertEqual(len(self.fetches), 2)
        self.clock.advance(2)
        again = self.ask(cached)
        self.fetches[2].callback("new")
        self.assertEqual(self.successResultOf(again), "new")

    def test_a_ttl_of_zero_asks_each_time(self) -> None:
        cached = self.cached(ttl=0)
        for value in ("one", "two"):
            asked = self.ask(cached)
            self.fetches[-1].callback(value)
            self.assertEqual(self.successResultOf(asked), value)

    def test_a_ttl_of_zero_keeps_nothing_for_when_the_source_fails(self) -> None:
        cached = self.cached(ttl=0)
        self.ask(cached)
        self.fetches[0].callback("old")
        asked = self.ask(cached)
        self.fetches[1].errback(SickError())
        self.failureResultOf(asked, SickError)

    def test_an_old_value_is_given_out_while_a_new_one_is_fetched_behind(self) -> None:
        cached = self.cached(behind=True)
        first = self.ask(cached)
        self.assertNoResult(first)
        self.fetches[0].callback("old")
        self.clock.advance(61)
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.ask(cached)), "old")
        self.assertEqual(len(self.fetches), 2)
        self.fetches[1].callback("new")
        self.assertEqual(self.successResultOf(self.ask(cached)), "new")
        self.assertEqual(len(self.fetches), 2)

    def test_a_fetch_that_fails_behind_is_tried_again_after_a_while(self) -> None:
        cached = self.cached(behind=True)
        cached.offer("offered")
        self.assertEqual(self.successResultOf(self.ask(cached)), "offered")
        self.fetches[0].errback(SickError())
        self.assertEqual(self.successResultOf(self.ask(cached)), "offered")
        self.assertEqual(len(self.fetches), 1)
        self.clock.advance(11)
        self.ask(cached)
        self.assertEqual(len(self.fetches), 2)
        self.fetches[1].callback("new")

    def test_what_is_offered_takes_no_place_of_what_was_fetched(self) -> None:
        cached = self.cached()
        self.assertTrue(cached.is_empty)
        self.ask(cached)
        self.fetches[0].callback("fetched")
        self.assertFalse(cached.is_empty)
        cached.offer("offered")
        self.assertEqual(self.successResultOf(self.ask(cached)), "fetched")
