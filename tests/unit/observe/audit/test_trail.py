"""Records reach every place, nobody waits for them who need not, and who must is told."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.errors import AuthorityError, Kind
from kipuka.observe.audit import outbox
from kipuka.observe.audit.file import AuditFile
from kipuka.observe.audit.outbox import RETRY, Outbox
from kipuka.observe.audit.record import AuditEvent, Record
from kipuka.observe.audit.trail import PATIENCE, PAUSE, Trail
from tests.unit.observe.audit.records import faults, record


class Place:
    """Takes batches, unless it is told not to, or to take its time."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.trouble: Exception | None = None
        self.under_way: Deferred[None] | None = None

    def write(self, items: Sequence[Any]) -> Deferred[Any]:
        if self.trouble is not None:
            return fail(self.trouble)
        self.batches.append(list(items))
        return self.under_way or succeed(None)


class Boxes(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.place, self.gaps = Clock(), Place(), list[int]()
        self.box: Outbox[int] = Outbox("place", self.place.write, self.clock, self.gaps.append, 0.25)
        self.box.start()

    def test_items_are_written_in_batches_in_order(self) -> None:
        self.box.put(1)
        self.box.put(2)
        assert self.place.batches == []
        self.clock.advance(0.25)
        self.place.under_way = Deferred()
        self.box.put(3)
        self.clock.advance(0.25)
        self.box.put(4)
        self.clock.advance(5)
        assert self.place.batches == [[1, 2], [3]]
        self.place.under_way.callback(None)
        self.clock.advance(0.25)
        assert self.place.batches == [[1, 2], [3], [4]]
        assert self.clock.getDelayedCalls() == []

    def test_nothing_is_written_before_the_start(self) -> None:
        box: Outbox[int] = Outbox("place", self.place.write, self.clock, self.gaps.append)
        box.put(1)
        waiter = box.deliver(2)
        assert self.place.batches == []
        box.start()
        self.clock.advance(0)
        assert self.place.batches == [[1, 2]]
        self.successResultOf(waiter)

    def test_who_waits_does_not_wait_for_the_pause(self) -> None:
        self.box.put(1)
        self.successResultOf(self.box.deliver(2))
        assert self.place.batches == [[1, 2]]
        self.place.under_way = Deferred()
        first, second = self.box.deliver(3), self.box.deliver(4)
        self.place.under_way.callback(None)
        self.successResultOf(first)
        self.clock.advance(0)
        self.successResultOf(second)

    def test_what_cannot_be_written_is_tried_again_unless_somebody_was_told(self) -> None:
        self.place.trouble = OSError("full")
        self.box.put(1)
        self.failureResultOf(self.box.deliver(2), OSError)
        assert self.box.is_failing
        self.clock.advance(RETRY)
        self.failureResultOf(self.box.deliver(3), OSError)
        self.place.trouble = None
        self.box.put(4)
        self.clock.advance(RETRY)
        assert self.place.batches == [[1, 4]]
        assert not self.box.is_failing
        assert self.box.lost == 0

    def test_while_it_fails_each_who_waits_tries_anew(self) -> None:
        self.place.trouble = OSError("full")
        self.failureResultOf(self.box.deliver(1), OSError)
        self.place.trouble = None
        self.successResultOf(self.box.deliver(2))
        assert self.place.batches == [[2]]

    def test_the_queue_is_bounded_and_says_what_it_lost(self) -> None:
        self.patch(outbox, "LIMIT", 3)
        self.place.trouble = OSError("full")
        for number in range(5):
            self.box.put(number)
        assert self.box.lost == 2
        self.failureResultOf(self.box.deliver(9), OSError)  # is not refused for a full queue
        self.place.trouble = None
        self.clock.advance(RETRY)
        assert self.place.batches == [[0, 1, 2]]
        assert self.gaps == [2]

    def test_what_nobody_waits_for_any_more_is_neither_kept_nor_written(self) -> None:
        self.patch(outbox, "LIMIT", 3)
        self.place.under_way = hanging = Deferred()
        for number in (1, *range(10, 20)):  # the first is under way, too late
            self.failureResultOf(self._given_up(number), TookTooLong)
        self.box.put(2)
        waiter = self.box.deliver(3)
        self.box.put(4)
        assert self.box.lost == 1
        hanging.callback(None)
        self.place.under_way = None
        self.clock.advance(0)
        self.successResultOf(waiter)
        assert self.place.batches == [[1], [2, 3]]

    def test_the_order_is_kept_when_a_batch_fails_after_somebody_gave_up(self) -> None:
        self.box.put(0)
        self.place.under_way = hanging = Deferred()
        self.failureResultOf(self._given_up(3), TookTooLong)
        self.box.put(4)
        self.failureResultOf(self._given_up(5), TookTooLong)
        self.place.under_way = None
        hanging.errback(OSError("full"))
        self.clock.advance(RETRY)
        assert self.place.batches == [[0, 3], [0, 4]]

    def test_the_end_while_the_disk_hangs_writes_nothing_that_was_given_up(self) -> None:
        self.place.under_way = hanging = Deferred()
        self.failureResultOf(self._given_up(1), TookTooLong)
        self.box.put(2)
        waiter = self.box.deliver(3).addTimeout(PATIENCE, self.clock)
        closed = Deferred.fromCoroutine(self.box.close())
        self.clock.advance(PATIENCE)
        self.failureResultOf(waiter, TookTooLong)
        self.place.under_way = None
        hanging.callback(None)
        self.successResultOf(closed)
        assert self.place.batches == [[1], [2]]

    def _given_up(self, number: int) -> Deferred[None]:
        waiter = self.box.deliver(number).addTimeout(PATIENCE, self.clock)
        self.clock.advance(PATIENCE)
        return waiter

    def test_the_end(self) -> None:
        self.box.put(1)
        self.place.under_way = under_way = Deferred()
        self.clock.advance(1)
        self.box.put(2)
        closed = Deferred.fromCoroutine(self.box.close())
        self.assertNoResult(closed)
        self.place.under_way = None
        under_way.callback(None)
        self.successResultOf(closed)
        assert self.place.batches == [[1], [2]]
        self.box.put(3)
        self.clock.advance(10)
        assert self.place.batches == [[1], [2]]

    def test_the_end_does_not_wait_for_what_cannot_be_written(self) -> None:
        self.box.put(1)
        self.place.trouble = OSError("full")
        self.successResultOf(Deferred.fromCoroutine(self.box.close()))
        assert self.clock.getDelayedCalls() == []


class FakeSyslog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def send(self, lines: Sequence[str], _now: object) -> None:
        self.lines += lines

    def close(self) -> None:
        pass


class Trails(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "audit.json")
        self.clock, self.database = Clock(), Place()
        self.syslog: Any = FakeSyslog()

    def trail(self, *, file: bool = True) -> Trail:
        trail = Trail(
            self.clock,
            "ra1",
            self.database.write,
            maybeDeferred,
            AuditFile(self.path) if file else None,
            self.syslog,
        )
        trail.start()
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(trail.close())))
        return trail

    def lines(self) -> list[str]:
        return self.path.read_text("ascii").splitlines()

    def test_a_record_reaches_every_place_with_the_time_and_the_machine(self) -> None:
        self.clock.advance(86400.5)
        self.trail().note(Record(event=AuditEvent.REFUSAL, address="192.0.2.7"))
        self.clock.advance(PAUSE)
        ((stored,),) = self.database.batches
        assert stored.node == "ra1"
        (line,) = self.lines()
        assert json.loads(line)["time"] == "1970-01-02T00:00:00.500000Z"
        self.clock.advance(0)
        assert self.syslog.lines == [line]
        assert faults([line]) == []

    def test_without_a_file_syslog_gets_the_record_alone(self) -> None:
        self.trail(file=False).note(record())
        self.clock.advance(0)
        (line,) = self.syslog.lines
        assert set(json.loads(line)) == {"time", "event", "node", "enrollment", "subject"}

    def test_what_the_database_has_already_is_repeated_elsewhere(self) -> None:
        self.trail().repeat(record())
        self.clock.advance(PAUSE)
        assert self.database.batches == []
        assert len(self.lines()) == 1

    def test_attested_is_on_disk(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.trail().attest(record())))
        assert len(self.lines()) == 1
        assert self.database.batches == []

    def test_attested_without_a_file(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.trail(file=False).attest(record())))
        self.clock.advance(0)
        assert len(self.syslog.lines) == 1

    def test_what_cannot_be_attested(self) -> None:
        self.path.mkdir()
        trail = self.trail()
        error = self.failureResultOf(Deferred.fromCoroutine(trail.attest(record())), AuthorityError).value
        assert error.kind is Kind.UNREACHABLE
        assert str(self.path) not in error.text
        assert str(self.path) in error.cause
        assert trail.failing() == {"database": False, "file": True, "syslog": False}
        self.path.rmdir()
        self.successResultOf(Deferred.fromCoroutine(trail.attest(record())))
        assert trail.failing()["file"] is False
        assert len(self.lines()) == 1

    def test_each_attempt_that_fails_is_told(self) -> None:
        told: list[None] = []
        self.path.mkdir()
        trail = Trail(
            self.clock,
            "ra1",
            self.database.write,
            maybeDeferred,
            AuditFile(self.path),
            failed=lambda: told.append(None),
        )
        trail.start()
        trail.note(record())
        self.clock.advance(PAUSE)
        assert len(told) == 1
        self.clock.advance(RETRY)
        assert len(told) == 2
        self.path.rmdir()
        self.clock.advance(RETRY)
        assert len(told) == 2
        self.successResultOf(Deferred.fromCoroutine(trail.close()))

    def test_a_disk_that_hangs(self) -> None:
        hanging: Deferred[Any] = Deferred()
        told: list[None] = []
        trail = Trail(
            self.clock,
            "ra1",
            self.database.write,
            lambda _: hanging,
            AuditFile(self.path),
            failed=lambda: told.append(None),
        )
        trail.start()
        attesting = Deferred.fromCoroutine(trail.attest(record()))
        self.clock.advance(PATIENCE)
        assert self.failureResultOf(attesting, AuthorityError).value.kind is Kind.UNREACHABLE
        assert len(told) == 1
        hanging.callback([])  # too late for whoever waited, and no harm done
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_records_are_recorded(self) -> None:
        self.patch(outbox, "LIMIT", 1)
        trail = self.trail()
        for _ in range(3):
            trail.note(Record(event=AuditEvent.REFUSAL))
        assert trail.lost() == {"database": 2, "file": 2, "syslog": 0}
        self.clock.advance(PAUSE)
        self.clock.advance(PAUSE)
        last = json.loads(self.lines()[-1])
        assert (last["event"], last["count"]) == ("audit records lost", 2)
        assert self.database.batches[-1][0].count == 2

    def test_a_file_that_somebody_emptied_is_recorded_everywhere(self) -> None:
        trail = self.trail()
        trail.note(record())
        self.clock.advance(PAUSE)
        self.path.write_text("")
        trail.repeat(record())
        self.clock.advance(PAUSE)
        self.clock.advance(PAUSE)
        told = [json.loads(line) for line in self.lines()]
        assert [(each["seq"], each["event"]) for each in told] == [(2, "enrollment granted"), (3, "audit file changed")]
        assert told[-1]["reason"] == f"{self.path} was emptied; its last record was 1"
        assert self.database.batches[-1][-1].event is AuditEvent.FILE_CHANGED
        assert self.syslog.lines[-1] == self.lines()[-1]

    def test_what_is_left_is_written_at_the_end(self) -> None:
        trail = self.trail()
        trail.note(Record(event=AuditEvent.STOPPED))
        self.successResultOf(Deferred.fromCoroutine(trail.close()))
        assert len(self.database.batches) == len(self.lines()) == len(self.syslog.lines) == 1


def test_a_record_in_the_log_is_one_line() -> None:
    from twisted.logger import globalLogPublisher

    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        Trail(Clock(), "ra1", Place().write, maybeDeferred).note(Record(event=AuditEvent.REFUSAL, subject="{a}\n{b}"))
    finally:
        globalLogPublisher.removeObserver(events.append)
    (text,) = [each["record"] for each in events if each.get("log_namespace") == "kipuka.audit"]
    assert json.loads(text)["subject"] == "{a}\n{b}"
    assert "\n" not in text
