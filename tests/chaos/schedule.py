"""What will happen in a run, derived from its seed: who asks for what, what is killed when, which connections are cut.

The same seed and count give the same schedule. They cannot give the same run: when threads, processes and the CA get
their turn is not ours to say. A failure that depends on such a moment may need a few runs of its seed to come back.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from random import Random


class Renewal(Enum):
    """What a client does once it has its certificate."""

    NONE = "none"
    SAME_KEY = "same key"
    NEW_KEY = "new key"


@dataclasses.dataclass(frozen=True)
class Plan:
    """One client. Times are seconds."""

    number: int
    by_password: bool
    """HTTP Basic, or else a certificate from the maker."""
    manual: bool
    """The profile that waits for an agent, or else the one that issues at once."""
    refused: bool
    """The agent says no."""
    decision_delay: float
    """From the agent first seeing the request to the decision."""
    renewal: Renewal

    @property
    def operations(self) -> int:
        """How many requests the client makes, each until it has its answer."""
        return 1 if self.renewal is Renewal.NONE else 2


class Victim(Enum):
    """What is killed with -9."""

    KIPUKA = "kipuka"
    CA = "ca"
    """Dogtag's Tomcat."""
    DS = "ds"
    """Dogtag's LDAP server."""
    CA2 = "ca2"
    """The clone's Tomcat."""
    DS2 = "ds2"
    """The clone's LDAP server."""


CLONE = (Victim.CA2, Victim.DS2)


@dataclasses.dataclass(frozen=True)
class Kill:
    """One kill -9 and restart. Times are seconds."""

    victim: Victim
    after: int
    """Operations that have ended before it."""
    delay: float
    """From then to the kill."""
    down: float
    """From the kill to the restart."""
    again: float | None = None
    """kipuka only: from the restart to being killed a second time, so perhaps in the middle of its start."""
    also: Victim | None = None
    """Killed at the same moment; of the other CA of the pool."""


class Direction(Enum):
    """Of bytes through the proxy."""

    UP = "to the server"
    DOWN = "to the client"


class Action(Enum):
    """What the proxy does when its number of bytes has passed."""

    PASS = "pass"
    FIN = "close"
    RESET = "reset"
    STALL = "stall"


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What happens to one connection."""

    action: Action = Action.PASS
    direction: Direction = Direction.UP
    after: int = 0
    """Bytes of that direction that pass before."""
    seconds: float = 0.0
    """How long a stall lasts; the bytes go on after it."""


@dataclasses.dataclass(frozen=True)
class Link:
    """How roughly the connections of one proxy are treated."""

    cut: float
    """Share of connections that are cut."""
    stall: float
    """Share of connections that stall."""
    bytes: int
    """Cuts and stalls come before this many bytes."""
    longest_stall: float


CLIENT_LINK = Link(cut=0.25, stall=0.05, bytes=2500, longest_stall=5)
"""Handshake, request and answer of one enrollment are 1.3 to 2.5 KB in each direction."""
CA_LINK = Link(cut=0.4, stall=0.1, bytes=40_000, longest_stall=14)
"""Connections to the CA are kept for many enrollments of some 10 KB. Some stalls outlast the CA time-out."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """All that is known about a run before it starts."""

    seed: int
    plans: tuple[Plan, ...]
    kills: tuple[Kill, ...]

    @property
    def operations(self) -> int:
        """Requests of all clients together."""
        return sum(each.operations for each in self.plans)

    def treatment(self, name: str, link: Link, index: int) -> Treatment:
        """What happens to the connection with that index through the proxy of that name."""
        dice = Random(f"{self.seed}/{name}/{index}")
        what, after = dice.random(), dice.randrange(link.bytes)
        direction = dice.choice(list(Direction))
        if what < link.cut:
            return Treatment(dice.choice([Action.FIN, Action.RESET]), direction, after)
        if what < link.cut + link.stall:
            return Treatment(Action.STALL, direction, after, dice.uniform(1, link.longest_stall))
        return Treatment()

    def dice(self, number: int, attempt: str) -> Random:
        """The decisions of one client for one of its attempts."""
        return Random(f"{self.seed}/client/{number}/{attempt}")


def make(
    seed: int,
    count: int,
    *,
    kipuka: int | None = None,
    ca: int | None = None,
    ds: int | None = None,
    pool: bool = False,
) -> Schedule:
    """Return the schedule for that many clients; ``kipuka``, ``ca`` and ``ds`` are how often each is killed.

    :param pool: as often the same of the CA's clone; now and then something of both dies at the same moment.
    """
    dice = Random(f"{seed}/plans")
    plans = tuple(_plan(dice, number) for number in range(count))
    operations = sum(each.operations for each in plans)
    wanted = {
        Victim.KIPUKA: max(2, count // 20) if kipuka is None else kipuka,
        Victim.CA: max(1, count // 100) if ca is None else ca,
        Victim.DS: max(1, count // 125) if ds is None else ds,
    }
    if pool:
        wanted |= {Victim.CA2: wanted[Victim.CA], Victim.DS2: wanted[Victim.DS]}
    dice = Random(f"{seed}/kills")
    kills = [_kill(dice, victim, operations) for victim, number in wanted.items() for _ in range(number)]
    if pool:
        dice = Random(f"{seed}/pairs")
        kills = [_with_another(dice, each) for each in kills]
    return Schedule(seed, plans, tuple(sorted(kills, key=lambda each: each.after)))


def _plan(dice: Random, number: int) -> Plan:
    # All dice are thrown for every client, so that a change of one share leaves the other decisions alone.
    by_password, manual, refused, delay, renewal = (dice.random() for _ in range(5))
    is_manual = manual < 0.25
    is_refused = is_manual and refused < 0.2
    wants = Renewal.SAME_KEY if renewal < 0.12 else Renewal.NEW_KEY if renewal < 0.25 else Renewal.NONE
    return Plan(
        number=number,
        by_password=by_password < 0.5,
        manual=is_manual,
        refused=is_refused,
        # Mostly quick, sometimes longer than a request waits for approval.
        decision_delay=8 * delay**2,
        renewal=Renewal.NONE if is_refused else wants,
    )


def _kill(dice: Random, victim: Victim, operations: int) -> Kill:
    # Not in the last tenth, where few requests are left to be hit.
    after = dice.randrange(operations // 50, max(1 + operations // 50, operations * 9 // 10))
    delay = dice.uniform(0, 0.5)
    down, again, twice = dice.random(), dice.uniform(0.1, 2.5), dice.random() < 0.25
    if victim is Victim.KIPUKA:
        return Kill(victim, after, delay, down=2 * down, again=again if twice else None)
    # 389-ds does not start while the killed one still has its entry in /proc, which is some seconds.
    return Kill(victim, after, delay, down=4 * down + (5 if victim in {Victim.DS, Victim.DS2} else 0))


def _with_another(dice: Random, kill: Kill) -> Kill:
    """A quarter of the kills of one CA hit the other one as well: its Tomcat or its LDAP server."""
    hit, others = dice.random(), (Victim.CA, Victim.DS) if kill.victim in CLONE else CLONE
    also = dice.choice(others)
    if kill.victim is Victim.KIPUKA or hit >= 0.25:
        return kill
    # The second one may be an LDAP server, which needs its time too.
    return dataclasses.replace(kill, also=also, down=max(kill.down, 5.0))
