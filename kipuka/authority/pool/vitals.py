"""The record of one CA's health: what came of each call, the breaker it drives, and who is told when that changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from weakref import WeakSet

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from kipuka.authority.pool.breaker import Circuit, Thresholds, breaker
from kipuka.authority.pool.health import Health, Status, Transition, Trouble
from kipuka.errors import AuthorityError, Kind

T = TypeVar("T")

_log = Logger("kipuka.pool")

FAILURES = {Kind.UNREACHABLE, Kind.NO_ANSWER, Kind.BAD_ANSWER}
"""These speak against the CA, whatever was asked."""
DOUBTS = {Kind.MISCONFIGURED}
"""Asked for a certificate, Dogtag says so while its directory is down, but also of a label's profile that it does not
have, and then all is well with the CA: a probe tells. One label's mistake must not switch a CA off for the others."""


class Queue(Protocol):
    """Requests that wait for a CA."""

    def send_away(self) -> None:
        """Let nobody wait any longer."""


class Vitals:
    """One CA's, or one part's that stands beside a CA.

    :param told: called at every change of the breaker's state, after the fact. What it raises is logged.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the interface's word
        clock: IReactorTime,
        thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
        group: str | None = None,
        told: Callable[[Transition], None] = lambda _: None,
    ) -> None:
        self.id = id
        self.group = group
        self._clock = clock
        self._told = told
        self._breaker = breaker(thresholds)
        self._period = 0
        self._last_success: datetime | None = None
        self._since = self._now()
        self._last_check: datetime | None = None
        self.last_error: Trouble | None = None
        self.is_refusing = False
        """Whether its last failure was a refused connection: nothing listens there, and what it had in hand is over."""
        self.has_been_away = False
        """Whether the breaker has ever opened."""
        self.in_doubt: Callable[[], None] = lambda: None
        """Called when only a probe can tell whether the CA is well."""
        self.queues: WeakSet[Queue] = WeakSet()
        """Told when the breaker opens. There are two for a while after the configuration was changed."""

    @property
    def circuit(self) -> Circuit:
        """The breaker's state."""
        return self._breaker.circuit()

    @property
    def seconds_in_state(self) -> float:
        """How long the breaker has been in its state."""
        return (self._now() - self._since).total_seconds()

    def health(self, in_flight: int = 0) -> Health:
        """How it is, for people."""
        failures = self._breaker.failures()
        status = Status.of(self.circuit, failures)
        last = (self.last_error, self._last_success)
        return Health(status, self._last_check, failures, self._since, *last, in_flight, self.group)

    async def probe(self, work: Callable[[], Awaitable[object]]) -> None:
        """Count what comes of a probe. Raises nothing: a probe that broke is one that failed.

        :param work: raises AuthorityError when the CA is not well.
        """
        period = self._period
        try:
            await work()
        except AuthorityError as trouble:
            if trouble.kind is not Kind.BUSY:  # then nothing was asked of it
                self._failed(trouble, period)
        except CancelledError:  # nobody wants to know any more
            return
        except Exception:
            _log.failure("CA {ca}: a probe failed in an unforeseen way", ca=self.id)
            self._failed(AuthorityError(Kind.INTERNAL, "The probe failed: see the log."), period)
        else:
            self._succeeded(period)
        self._last_check = self._now()

    async def count(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something at the CA and count what comes of it.

        A policy's no, a CSR that cannot be read and the like say nothing about the CA. Nor does the outcome of
        a call that began before the breaker last changed: that is news of how the CA was then.

        :raises AuthorityError: what ``work`` raises.
        """
        period = self._period
        try:
            result = await work()
        except AuthorityError as trouble:
            if trouble.kind in FAILURES:
                self._failed(trouble, period)
            elif trouble.kind in DOUBTS:
                self.in_doubt()
            raise
        self._succeeded(period)
        return result

    def _succeeded(self, period: int) -> None:
        if period == self._period:
            before = self.circuit
            self.is_refusing = False
            self._last_success = self._now()
            self._breaker.succeeded()
            self._changed(before, None)

    def _failed(self, trouble: AuthorityError, period: int) -> None:
        if period == self._period:
            before = self.circuit
            self.last_error = Trouble(trouble.kind, trouble.text, self._now())
            self.is_refusing = trouble.connection_refused
            self._breaker.failed()
            self._changed(before, trouble)

    def _changed(self, before: Circuit, trouble: AuthorityError | None) -> None:
        after = self.circuit
        if after is before:
            return
        self._since = self._now()
        if before is not Circuit.UNTRIED or after is not Circuit.CLOSED:
            self._period += 1
        if before is not Circuit.UNTRIED or after is not Circuit.CLOSED:
            say = _log.warn if after is Circuit.OPEN else _log.info
            cause = "" if trouble is None else f": {trouble}"
            say("CA {ca}: {before} -> {after}{cause}", ca=self.id, before=before.value, after=after.value, cause=cause)
        error = None if trouble is None else self.last_error
        try:
            self._told(Transition(self.id, self.group, before, after, error))
        except Exception:
            _log.failure("CA {ca}: a change of its health was not noted", ca=self.id)
        if after is Circuit.OPEN:
            self.has_been_away = True
            for queue in list(self.queues):
                queue.send_away()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)
