"""Probing one CA, again and again, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from kipuka.authority.interface import Probed
from kipuka.authority.pool.vitals import Vitals
from kipuka.errors import AuthorityError, Kind

_log = Logger("kipuka.pool")

JITTER = 0.1
"""A probe comes up to this part of the interval late, so that many nodes do not probe in step."""
LATEST = 3.0
"""Seconds that it is late at most: nothing is known of a CA before its first probe."""


class Watch:
    """Probes one CA, one probe at a time.

    :param interval: seconds between the starts of two probes.
    :param timeout: seconds that one may take.
    :param jitter: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        target: Probed,
        vitals: Vitals,
        clock: IReactorTime,
        jitter: Callable[[], float],
        interval: float = 30.0,
        timeout: float = 10.0,
    ) -> None:
        self._target = target
        self.vitals = vitals
        self._clock = clock
        self._jitter = jitter
        self._interval = interval
        self._timeout = timeout
        self._probing: Deferred[None] | None = None
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock
        self._pause: Deferred[None] | None = None
        self._ended: Deferred[Any] | None = None

    def start(self) -> None:
        """Begin with a probe a moment from now."""
        self.vitals.in_doubt = self.probe_now
        self._ended = self._loop.start(self._interval)

    async def stop(self) -> None:
        """Probe no more; a probe under way is given up."""
        if self._loop.running:
            self._loop.stop()
        for waiting in (self._pause, self._probing):
            if waiting is not None:
                waiting.cancel()
        if self._ended is not None:
            await self._ended

    def probe_now(self) -> None:
        """Probe out of turn, unless one is under way."""
        if self._loop.running and self._probing is None:
            self._begin()

    def _turn(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._guarded())

    async def _guarded(self) -> None:
        """One round of the loop; nothing that happens in it ends the loop."""
        try:
            self._pause = deferLater(self._clock, self._jitter() * min(JITTER * self._interval, LATEST))
            self._pause.addErrback(lambda _: None)
            await self._pause
            if self._loop.running:
                await self._probe()
        except Exception:
            _log.failure("CA {ca}: watching it failed and goes on", ca=self.vitals.id)

    async def _probe(self) -> None:
        if self._probing is None:
            self._begin()
        if self._probing is not None:
            done: Deferred[None] = Deferred()
            self._probing.addBoth(lambda _: done.callback(None))
            await done

    def _begin(self) -> None:
        probing = self._probing = Deferred.fromCoroutine(self.vitals.probe(self._in_time))

        def over(_: object) -> None:
            self._probing = None

        probing.addBoth(over)

    async def _in_time(self) -> None:
        """Probe.

        :raises AuthorityError: the CA is not well, or there was no answer in time.
        """
        work: Coroutine[Deferred[Any], Any, None] = self._target.probe()
        answer = Deferred.fromCoroutine(work)
        alarm = self._clock.callLater(self._timeout, answer.cancel)
        try:
            await answer
        except Exception as failed:
            if not self._loop.running:
                raise CancelledError from failed
            if alarm.active() or isinstance(failed, AuthorityError):
                raise
            text = f"The CA did not answer a probe within {self._timeout:g} seconds."
            raise AuthorityError(Kind.NO_ANSWER, text, str(failed)) from failed
        finally:
            if alarm.active():
                alarm.cancel()
