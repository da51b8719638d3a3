"""One CA of a pool: how it is, and the requests that are there or wait to be sent to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.interface import (
    Authority,
    EnrollmentRequest,
    FindsRequests,
    KnowsStatus,
    Outcome,
    TracksRequests,
)
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.pool.choice import Candidate
from kipuka.authority.pool.health import Health
from kipuka.authority.pool.vitals import Vitals
from kipuka.errors import AuthorityError, Kind

QUEUE = 16
"""So many requests for each connection may wait for one to be free."""
COMING_BACK = 30.0
"""Seconds over which a CA that was away gets from its least share back to its full one."""
_LEAST_SHARE = 0.1

_BUSY = "The CA has as many requests in hand as it takes: try again later."


class Clone(Authority, KnowsStatus, TracksRequests, FindsRequests, Protocol):
    """What a CA must be able to do so that another can stand in for it."""


class Member:
    """A CA in a pool.

    :param capacity: enrollments that are sent to it at the same time.
    """

    def __init__(self, authority: Clone, vitals: Vitals, clock: IReactorTime, capacity: int = 8) -> None:
        self.authority = authority
        self.vitals = vitals
        self._clock = clock
        self._capacity = capacity
        self._busy = 0
        self._waiting: deque[Deferred[None]] = deque()
        vitals.queues.add(self)

    @property
    def id(self) -> str:
        """The ``[[ca]] id``."""
        return self.authority.id

    @property
    def is_used(self) -> bool:
        """Whether it gets requests like any other."""
        return self.vitals.circuit in (Circuit.UNTRIED, Circuit.CLOSED)

    @property
    def may_be_tried(self) -> bool:
        """Whether it gets requests when no other can take them: it has answered since it failed."""
        return self.vitals.circuit is Circuit.HALF_OPEN

    @property
    def is_full(self) -> bool:
        """Whether no more requests may wait for it."""
        return len(self._waiting) >= QUEUE * self._capacity

    @property
    def in_flight(self) -> int:
        """Enrollments that are at the CA or wait for it."""
        return self._busy + len(self._waiting)

    def candidate(self) -> Candidate:
        """As it stands for choice."""
        return Candidate(self.id, self.in_flight, self._weight())

    def health(self) -> Health:
        """How it is, for people."""
        return self.vitals.health(self.in_flight)

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Send it one, when it is its turn.

        :raises AuthorityError: the CA's; BUSY also when too many wait, when it is too late to send it, and when the
            CA is found to be away while it waits: in all three cases it was not sent.
        """
        await self._turn(request.send_before)
        try:
            return await self.vitals.count(lambda: self._enroll(request))
        finally:
            self._busy -= 1
            self._next()

    def _enroll(self, request: EnrollmentRequest) -> Awaitable[Outcome]:
        return self.authority.enroll(request)

    async def _turn(self, send_before: float) -> None:
        if self.vitals.circuit is Circuit.OPEN:
            raise self._away()
        if self._busy >= self._capacity:
            if self.is_full:
                raise AuthorityError(Kind.BUSY, _BUSY, f"{len(self._waiting)} requests wait for CA {self.id} already")
            waiter: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiter)
            alarm = None
            if send_before < math.inf:
                alarm = self._clock.callLater(max(0, send_before - self._clock.seconds()), self._too_late, waiter)
            try:
                await waiter
            finally:
                if alarm is not None and alarm.active():
                    alarm.cancel()
        else:
            self._busy += 1

    def _next(self) -> None:
        """Hand free places to those who have waited longest."""
        while self._waiting and self._busy < self._capacity:
            self._busy += 1
            self._waiting.popleft().callback(None)

    def _too_late(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            waiter.errback(AuthorityError(Kind.BUSY, _BUSY, f"no connection to CA {self.id} became free in time"))

    def send_away(self) -> None:
        """Nobody waits for a CA that is away: others may take the requests at once."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for waiter in waiting:
            waiter.errback(self._away())

    def _away(self) -> AuthorityError:
        return AuthorityError(Kind.BUSY, _BUSY, f"CA {self.id} went away before the request was sent")

    def _weight(self) -> float:
        """Its share: one that was away is cold and may be weak, so it gets its full share back little by little."""
        if not self.vitals.has_been_away or self.vitals.circuit is not Circuit.CLOSED:
            return 1.0
        return min(1.0, max(_LEAST_SHARE, self.vitals.seconds_in_state / COMING_BACK))
