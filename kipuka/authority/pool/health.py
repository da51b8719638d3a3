"""What is shown of a CA's health. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from kipuka.authority.pool.breaker import Circuit
from kipuka.errors import Kind


class Status(Enum):
    """A CA's health in one word. The value is what ``/health/ca`` says."""

    UNKNOWN = "unknown"
    """Nothing has been asked of it yet."""
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It is used, but what was last asked of it failed."""
    CIRCUIT_OPEN = "circuit_open"
    """It failed too often in a row; in a pool nothing is sent to it."""
    HALF_OPEN = "half_open"
    """It answers again, and has to do so a few times more before it is used."""

    @classmethod
    def of(cls, circuit: Circuit, failures: int) -> Status:
        """The word for a breaker's state."""
        if circuit is Circuit.CLOSED:
            return cls.DEGRADED if failures else cls.HEALTHY
        return {
            Circuit.UNTRIED: cls.UNKNOWN,
            Circuit.OPEN: cls.CIRCUIT_OPEN,
            Circuit.HALF_OPEN: cls.HALF_OPEN,
        }[circuit]


@dataclass(frozen=True)
class Trouble:
    """What went wrong last; both parts may be shown to anybody."""

    kind: Kind
    text: str
    at: datetime


@dataclass(frozen=True)
class Health:
    """How one CA is.

    :param last_check: when the last probe ended; None before the first.
    :param since: since when the breaker is in its state.
    :param last_error: the last failure, also when it is over.
    :param last_success: when it last did what it was asked; None: not since the start.
    :param in_flight: requests of the pool that are at this CA or wait for a connection to it.
    :param group: the pool it belongs to.
    """

    status: Status
    last_check: datetime | None
    consecutive_failures: int
    since: datetime
    last_error: Trouble | None = None
    last_success: datetime | None = None
    in_flight: int = 0
    group: str | None = None

    def as_json(self) -> dict[str, object]:
        """The same in the terms of JSON; what is not known is null."""
        error = self.last_error
        return {
            "status": self.status.value,
            "last_check": _zulu(self.last_check),
            "consecutive_failures": self.consecutive_failures,
            "since": _zulu(self.since),
            "last_error": error and {"code": error.kind.value, "message": error.text, "at": _zulu(error.at)},
            "last_success": _zulu(self.last_success),
            "in_flight": self.in_flight,
            "group": self.group,
        }


@dataclass(frozen=True)
class Transition:
    """A breaker changed its state.

    :param trouble: the failure that made it do so.
    """

    ca_id: str
    group: str | None
    before: Circuit
    after: Circuit
    trouble: Trouble | None


def _zulu(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
