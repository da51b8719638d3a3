"""Who works at the desk: named strays, and one shift taking over from another."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent

from kipuka.enrollment.desk import Desk, Shift
from kipuka.enrollment.revocation import Revocation
from kipuka.errors import Kind
from tests.unit.enrollment.office import csr
from tests.unit.enrollment.test_polling import TrackedCase
from tests.unit.enrollment.test_registration import trouble


class Loop:
    """Something that goes on by itself, and says what is done to it.

    :param ca_id: for a poller.
    :param ends: when it has ended.
    """

    def __init__(self, name: str, said: list[str], ends: Deferred[None] | None = None, ca_id: str = "") -> None:
        self.name = name
        self.ca_id = ca_id
        self._said = said
        self._ends = ends or succeed(None)

    def start(self, after: object = None) -> None:
        self._said.append(f"{self.name} starts")

    async def stop(self) -> None:
        self._said.append(f"{self.name} is to end")
        await self._ends
        self._said.append(f"{self.name} ends")


class Submitter:
    """Has something in hand."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    async def settled(self) -> None:
        await self.done


class Changes(TrackedCase):
    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        self.slow: Deferred[None] = Deferred()
        self.revocation = Revocation(self.node.ledger, {})

    def shift(self, name: str, *pollers: tuple[str, Deferred[None] | None]) -> Shift:
        polling: Any = [Loop(f"{name} polling {ca}", self.said, ends, ca) for ca, ends in pollers]
        return Shift([], polling, [Loop(f"{name} watching", self.said)], self.revocation)

    def desk(self, shift: Shift) -> Desk:
        desk = Desk(self.node.ledger, shift)
        with patch.object(self.node.ledger, "open"), patch.object(self.node.ledger, "start"):
            desk.start()
        self.said.clear()
        return desk

    def test_no_ca_is_polled_by_two_and_a_slow_one_does_not_keep_the_others_waiting(self) -> None:
        desk = self.desk(self.shift("old", ("slow", self.slow), ("quick", None), ("gone", None)))
        changed = Deferred.fromCoroutine(
            desk.change(self.shift("new", ("slow", None), ("quick", None), ("more", None)))
        )
        assert self.said.index("old watching ends") < self.said.index("new watching starts")
        assert self.said.index("old polling quick ends") < self.said.index("new polling quick starts")
        assert {"new polling more starts", "old polling gone ends"} <= set(self.said)
        assert "new polling slow starts" not in self.said
        self.assertNoResult(changed)
        self.slow.callback(None)
        self.successResultOf(changed)
        assert self.said[-2:] == ["old polling slow ends", "new polling slow starts"]

    def test_one_change_after_the_other(self) -> None:
        desk = self.desk(self.shift("first", ("ca", self.slow)))
        changes = [Deferred.fromCoroutine(desk.change(self.shift(name, ("ca", None)))) for name in ("second", "third")]
        self.slow.callback(None)
        for each in changes:
            self.successResultOf(each)
        polled = [each for each in self.said if "polling" in each and "is to" not in each]
        assert polled == [
            "first polling ca ends",
            "second polling ca starts",
            "second polling ca ends",
            "third polling ca starts",
        ]

    def test_an_end_in_the_middle_of_a_change_starts_nothing_more(self) -> None:
        desk = self.desk(self.shift("old", ("ca", self.slow)))
        changed = Deferred.fromCoroutine(desk.change(self.shift("new", ("ca", None))))
        desk.let_go()
        with patch.object(self.node.ledger, "stop", lambda: succeed(None)):
            closed = Deferred.fromCoroutine(desk.close())
            self.assertNoResult(closed)
            self.slow.callback(None)
            self.successResultOf(changed)
            self.successResultOf(closed)
        assert "new polling ca starts" not in self.said
        assert "new polling ca ends" in self.said

    def test_what_came_in_before_its_turn_is_waited_for(self) -> None:
        desk = self.desk(self.shift("old", ("ca", self.slow)))
        Deferred.fromCoroutine(desk.change(self.shift("new", ("ca", None))))
        late, in_hand = self.shift("late"), Submitter()
        late.submitters = [cast("Any", in_hand)]
        Deferred.fromCoroutine(desk.change(late))  # its turn has not come; requests reach it all the same
        desk.let_go()
        self.slow.callback(None)
        with patch.object(self.node.ledger, "stop", lambda: succeed(None)):
            closed = Deferred.fromCoroutine(desk.close())
            self.assertNoResult(closed)
            in_hand.done.callback(None)
            self.successResultOf(closed)

    def test_what_does_not_end_in_order_keeps_nothing_from_starting(self) -> None:
        desk = self.desk(self.shift("old", ("ca", self.slow)))
        changed = Deferred.fromCoroutine(desk.change(self.shift("new", ("ca", None), ("more", None))))
        self.slow.errback(RuntimeError("no"))
        self.successResultOf(changed)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        assert {"new watching starts", "new polling ca starts", "new polling more starts"} <= set(self.said)


class Strays(TrackedCase):
    def said_at_start(self) -> list[str]:
        desk = Desk(self.node.ledger, Shift([], [self.poller()], [], Revocation(self.node.ledger, {})))
        with patch.object(self.node.ledger, "open"), patch.object(self.node.ledger, "start"), capturedLogs() as events:
            desk.start()
        return [formatEvent(event) for event in events if event["log_namespace"] == "kipuka.ledger"]

    def test_a_ca_that_is_not_configured_any_more_is_named(self) -> None:
        self.tracked.id = "gone"
        self.pending("7")
        self.tracked.script = [trouble(Kind.NO_ANSWER)]
        self.node.ask(csr()).addErrback(lambda _: None)
        self.successResultOf(self.node.ask(csr()))  # issued: nothing is to be asked of the CA
        self.tracked.id = "fake"
        (said,) = self.said_at_start()
        assert 'has 2 requests at CA "gone", which is not configured' in said

    def test_nothing_is_said_of_a_ca_that_is_there(self) -> None:
        self.pending("7")
        assert self.said_at_start() == []

    def test_a_store_that_is_away_at_the_start_is_no_traceback(self) -> None:
        self.node.broken = True
        assert self.said_at_start() == []
