"""What the ledger shows to people, over a real store."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.records import Records
from kipuka.enrollment.ledger.states import ENDED
from kipuka.errors import Kind, RequestError
from kipuka.store.rows import Application, State
from kipuka.store.store import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class TheRecords(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = Store.open(f"sqlite:///{Path(folder.name).resolve() / 'kipuka.db'}")
        self.addCleanup(self.store.close)
        self.events: list[str] = []
        clock = Clock()
        clock.advance(NOW.timestamp())
        ledger = Ledger(
            lambda: self.store, maybeDeferred, clock, "test", lambda event, row: self.events.append(event.value)
        )
        ledger.open()
        self.records = Records(ledger)

    def add(self, number: int, ca_id: str = "main", serial: str | None = None, at: datetime = NOW) -> int:
        application = Application(
            f"{number:064}", "user:alice", "simpleenroll", None, ca_id, None, "0" * 64, f"CN=d{number}"
        )
        row = self.store.join(application, at)
        if serial is not None:
            self.store.move(row.id, {State.RECEIVED}, State.ISSUED, at, serial=serial, certificate=b"der")
        return row.id

    def ask(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Any, kind: Kind) -> str:
        error = self.failureResultOf(Deferred.fromCoroutine(work), RequestError).value
        assert error.kind is kind
        text: str = error.text
        return text

    def page(self, **filters: Any) -> list[int]:
        return [row.id for row in self.ask(self.records.page(before=None, limit=10, **filters))]

    def test_filters(self) -> None:
        old = self.add(1, at=NOW - timedelta(days=2))
        issued = self.add(2, serial="0x2a")
        assert self.page() == [issued, old]
        assert self.page(certified=True) == [issued]
        assert self.page(serial="0x2a") == [issued]
        assert self.page(subject="cn=D1") == [old]
        assert self.page(subject="%") == []
        assert self.page(since=NOW) == [issued]
        assert self.page(since=NOW + timedelta(seconds=1)) == []

    def test_a_certificate_by_its_serial_number(self) -> None:
        one, _ = self.add(1, serial="0x2a"), self.add(2, ca_id="other", serial="0x2b")
        assert self.ask(self.records.certified(0x2A, None)).id == one
        self.refused(self.records.certified(0x2A, "other"), Kind.NOT_FOUND)
        self.refused(self.records.certified(0x2C, None), Kind.NOT_FOUND)
        again = self.add(3, ca_id="other", serial="0x2a")
        assert "(main, other)" in self.refused(self.records.certified(0x2A, None), Kind.CONFLICT)
        assert self.ask(self.records.certified(0x2A, "other")).id == again

    def test_abandon(self) -> None:
        row = self.add(1)
        ended = self.ask(self.records.abandon(row))
        assert (ended.state, ended.reason) == (State.CLOSED, ENDED)
        assert self.events == ["abandoned"]
        self.refused(self.records.abandon(row), Kind.CONFLICT)
        self.refused(self.records.abandon(99), Kind.NOT_FOUND)
        assert self.events == ["abandoned"]

    def test_a_store_that_is_away(self) -> None:
        row = self.add(1)
        self.store.close()
        self.refused(self.records.page(before=None, limit=1), Kind.BUSY)
        self.refused(self.records.enrollment(row), Kind.BUSY)
        self.refused(self.records.abandon(row), Kind.BUSY)
