"""Probing the CAs, and what stands beside them, again and again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from kipuka.authority.interface import Authority, Probed
from kipuka.errors import AuthorityError, Kind

INTERVAL, TIMEOUT, FAILURES = 30.0, 10.0, 3
"""Seconds between two probes and for one; failures in a row after which a CA counts as gone."""

Health = Mapping[str, object]

_log = Logger("kipuka.health")


def probed(cas: Mapping[str, Authority]) -> dict[str, Probed]:
    """Those that can be probed."""
    return {ca_id: ca for ca_id, ca in cas.items() if isinstance(ca, Probed)}


class Watching:
    """One loop for each.

    :param cas: by id.
    :param beside: what stands beside a CA, by the CA's id and its own name, such as "kra".
    """

    def __init__(
        self, cas: Mapping[str, Probed], beside: Mapping[str, Mapping[str, Probed]], clock: IReactorTime
    ) -> None:
        self._cas = {ca_id: _Watched(ca_id, ca, clock) for ca_id, ca in cas.items()}
        self._beside = {
            ca_id: {name: _Watched(f"{ca_id} {name}", each, clock) for name, each in beside.get(ca_id, {}).items()}
            for ca_id in cas
        }

    def health(self) -> dict[str, Health]:
        """How each CA is, in the shape of ``/health/ca``."""
        return {
            ca_id: {**watched.health(), **{name: each.health() for name, each in self._beside[ca_id].items()}}
            for ca_id, watched in self._cas.items()
        }

    def start(self) -> None:
        """Begin with a probe of each."""
        for watched in self._all():
            watched.loop.start(INTERVAL)

    def stop(self) -> None:
        """Probe no more; probes under way are given up."""
        for watched in self._all():
            watched.stop()

    def _all(self) -> list[_Watched]:
        return [*self._cas.values(), *(each for group in self._beside.values() for each in group.values())]


class _Watched:
    def __init__(self, name: str, target: Probed, clock: IReactorTime) -> None:
        self._name = name
        self._target = target
        self._clock = clock
        self._failures = 0
        self._was_well = False
        self._checked: datetime | None = None
        self._trouble: AuthorityError | None = None
        self._probing: Deferred[None] | None = None
        self.loop = LoopingCall(self._turn)
        self.loop.clock = clock

    def stop(self) -> None:
        if self.loop.running:
            self.loop.stop()
        if self._probing is not None:
            self._probing.cancel()

    def health(self) -> Health:
        error = self._trouble and {"code": self._trouble.kind.value, "message": self._trouble.text}
        return {
            "status": self._status(),
            "last_check": None if self._checked is None else f"{self._checked:%Y-%m-%dT%H:%M:%SZ}",
            "consecutive_failures": self._failures,
            "last_error": error,
        }

    def _status(self) -> str:
        if self._checked is None:
            return "unknown"
        if self._failures == 0:
            return "healthy"
        return "degraded" if self._was_well and self._failures < FAILURES else "circuit_open"

    def _turn(self) -> Deferred[None]:
        self._probing = Deferred.fromCoroutine(self._probe())
        return self._probing

    async def _probe(self) -> None:
        """One probe; nothing that happens in it ends the loop."""
        try:
            await Deferred.fromCoroutine(self._target.probe()).addTimeout(TIMEOUT, self._clock)
        except AuthorityError as trouble:
            self._failed(trouble)
        except TimedOut:
            self._failed(AuthorityError(Kind.NO_ANSWER, f"The CA did not answer a probe within {TIMEOUT:.0f} seconds."))
        except CancelledError:
            return
        except Exception:
            _log.failure("probing {name} failed", name=self._name)
            self._failed(AuthorityError(Kind.INTERNAL, "The probe failed: see the log."))
        else:
            self._failures, self._was_well = 0, True
        self._checked = datetime.fromtimestamp(self._clock.seconds(), UTC)

    def _failed(self, trouble: AuthorityError) -> None:
        if self._failures == 0:
            _log.warn("{name} is not well: {trouble}", name=self._name, trouble=trouble)
        self._failures += 1
        self._trouble = trouble
