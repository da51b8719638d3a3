"""The audit of one process: each record to the daemon's log, the database, and file and syslog where configured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from kipuka.errors import AuthorityError, Kind
from kipuka.observe.audit.file import AuditFile, AuditUnavailable
from kipuka.observe.audit.outbox import Outbox
from kipuka.observe.audit.record import AuditEvent, Record, line
from kipuka.observe.audit.syslog import Syslog

InThread = Callable[[Callable[[], Any]], Deferred[Any]]

PAUSE = 0.25
"""Seconds between two writes of records to the database: an enrollment's own are part of its other writes."""

PATIENCE = 5.0
"""Seconds that a disk may take for what somebody waits for."""

_log = Logger("kipuka.audit")


class Trail:
    """Takes records; the reactor's thread waits for nothing.

    :param store: writes records into the database's chain.
    :param in_thread: runs a blocking function where it may block; for file and syslog, several at a time.
    :param node: this machine's name.
    :param failed: told of each attempt to write that failed.
    """

    def __init__(
        self,
        clock: IReactorTime,
        node: str,
        store: Callable[[Sequence[Record]], Deferred[Any]],
        in_thread: InThread,
        file: AuditFile | None = None,
        syslog: Syslog | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._node = node
        self._in_thread = in_thread
        self._paper, self._wire = file, syslog
        self._failed = failed
        self._database = Outbox("the database", store, clock, self._lost_in_database, PAUSE, failed)
        self._file = (
            None if file is None else Outbox(str(file.path), self._write_down, clock, self._lost_in_file, failed=failed)
        )
        self._syslog = (
            None
            if syslog is None
            else Outbox("syslog", partial(self._send, syslog), clock, self._lost_in_syslog, failed=failed)
        )

    def note(self, record: Record) -> None:
        """Record an event."""
        record = self.stamped(record)
        self._database.put(record)
        self.repeat(record)

    def repeat(self, record: Record) -> None:
        """Record an event everywhere but in the database, where it is already."""
        record = self.stamped(record)
        _log.info("{record}", record=line(record))
        self._elsewhere(record)

    async def attest(self, record: Record) -> None:
        """The same, and return only when the file has it, if there is to be one.

        :raises AuthorityError: it has not, and what was recorded must not be done.
        """
        record = self.stamped(record)
        _log.info("{record}", record=line(record))
        if self._file is None:
            self._elsewhere(record)
            return
        try:
            await self._file.deliver(record).addTimeout(PATIENCE, self._clock)
        except (AuditUnavailable, TookTooLong) as trouble:
            if isinstance(trouble, TookTooLong):  # what failed was told already
                self._failed()
            raise AuthorityError(
                Kind.UNREACHABLE, "The server cannot write its audit at the moment: try again later.", str(trouble)
            ) from trouble

    def stamped(self, record: Record) -> Record:
        """The record with the time and the machine, where it lacks them."""
        now = record.time or datetime.fromtimestamp(self._clock.seconds(), UTC)
        return replace(record, time=now, node=record.node or self._node)

    def lost(self) -> dict[str, int]:
        """How many records each place did not get since the start."""
        return {name: box.lost for name, box in self._boxes().items()}

    def failing(self) -> dict[str, bool]:
        """Whether each place cannot be written just now."""
        return {name: box.is_failing for name, box in self._boxes().items()}

    def start(self) -> None:
        """Begin to write, once the database can be used."""
        for box in self._boxes().values():
            box.start()

    async def close(self) -> None:
        """Write what is left, and close the files; the database has to be open still."""
        for box in self._boxes().values():  # syslog last: the file's lines go on to it
            await box.close()
        if self._paper is not None:
            self._paper.close()
        if self._wire is not None:
            self._wire.close()

    def _boxes(self) -> dict[str, Outbox[Any]]:
        boxes: dict[str, Outbox[Any] | None] = {"database": self._database, "file": self._file, "syslog": self._syslog}
        return {name: box for name, box in boxes.items() if box is not None}

    def _elsewhere(self, record: Record) -> None:
        if self._file is not None:
            self._file.put(record)
        elif self._syslog is not None:
            self._syslog.put(line(record))

    def _write_down(self, records: Sequence[Record]) -> Deferred[Any]:
        file = self._paper
        if file is None:
            raise TypeError("there is no file to write to")
        return self._in_thread(lambda: file.append(records)).addCallback(self._pass_on, file)

    def _pass_on(self, lines: Sequence[str], file: AuditFile) -> None:
        """Syslog gets the file's very lines: their hashes, kept elsewhere, are what the file is checked against."""
        for change in file.changes():
            _log.critical("the audit was changed by somebody else: {what}", what=change)
            self.note(Record(event=AuditEvent.FILE_CHANGED, reason=change))
        if self._syslog is not None:
            for each in lines:
                self._syslog.put(each)

    def _send(self, syslog: Syslog, lines: Sequence[str]) -> Deferred[Any]:
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        return self._in_thread(lambda: syslog.send(lines, now))

    def _lost_in_database(self, number: int) -> None:
        self._database.put(self._gap(number))

    def _lost_in_file(self, number: int) -> None:
        if self._file is not None:
            self._file.put(self._gap(number))

    def _lost_in_syslog(self, number: int) -> None:
        if self._syslog is not None:
            self._syslog.put(line(self._gap(number)))

    def _gap(self, number: int) -> Record:
        return self.stamped(Record(event=AuditEvent.RECORDS_LOST, count=number))
