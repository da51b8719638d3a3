"""The life of an enrollment as a table: every state, every event, and nothing left open.

The table says which state an event leads to. A pair that is not in it cannot happen in an orderly life; when it is
met all the same (two processes, an answer that arrives after its row was given up) the row stays as it is, and whoever
brought the event is told so by :meth:`kipuka.enrollment.ledger.ledger.Ledger.happen` returning None. The same goes
for an event of an earlier submission: a process that was suspended knows nothing of the one that was made in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from kipuka.store.rows import OPEN, State


class Event(Enum):
    """What can happen to an enrollment."""

    TAKEN = "taken"
    """A process is going to submit it."""
    NOT_SENT = "not sent"
    """It certainly did not reach the CA, or the CA certainly did nothing."""
    LOST = "answer lost"
    """It was sent, and nobody knows what became of it."""
    GRANTED = "granted"
    DEFERRED = "deferred"
    """It waits for an agent of the CA."""
    REFUSED = "refused"
    ABSENT = "absence proven"
    """The CA never got it, or will never finish it."""
    WRITTEN = "written out"
    """The certificate went out to the client to its last byte."""
    TOLD = "told"
    """The client got the refusal."""
    OUTDATED = "outdated"
    """The replay window is over; or the certificate was revoked, has expired, or is itself being renewed; or nothing
    came of the request and nobody has asked for it for as long as finished ones are kept."""
    ABANDONED = "abandoned"
    """An administrator ended it."""


TABLE: Mapping[Event, Mapping[State, State]] = {
    Event.TAKEN: {State.RECEIVED: State.SUBMITTING},
    Event.NOT_SENT: {State.SUBMITTING: State.RECEIVED},
    Event.LOST: {State.SUBMITTING: State.UNKNOWN},
    # A process that was given up for dead may still bring its answer, even after its request was declared absent.
    Event.GRANTED: dict.fromkeys((State.SUBMITTING, State.UNKNOWN, State.PENDING, State.RECEIVED), State.ISSUED),
    Event.DEFERRED: dict.fromkeys((State.SUBMITTING, State.UNKNOWN, State.RECEIVED), State.PENDING),
    Event.REFUSED: dict.fromkeys((State.SUBMITTING, State.UNKNOWN, State.PENDING, State.RECEIVED), State.REJECTED),
    Event.ABSENT: {State.UNKNOWN: State.RECEIVED},
    Event.WRITTEN: {State.ISSUED: State.DELIVERED},
    Event.TOLD: {State.REJECTED: State.CLOSED},
    Event.OUTDATED: dict.fromkeys((State.ISSUED, State.DELIVERED, State.RECEIVED, State.REJECTED), State.CLOSED),
    Event.ABANDONED: dict.fromkeys(OPEN, State.CLOSED),
}

PASSING = frozenset({Event.WRITTEN, Event.TOLD})
"""They need not be on disk at once: should a failure of power undo one, a client that asks again gets its answer
once more."""


ENDED = "An administrator ended the request: ask again if need be."
"""The reason of an abandoned row: for whoever waits for it, and for the next who looks at it."""


def sources(event: Event) -> frozenset[State]:
    """The states an event changes; in all others it changes nothing."""
    return frozenset(TABLE[event])


def target(event: Event) -> State:
    """The one state an event leads to, whatever state it finds."""
    (state,) = set(TABLE[event].values())
    return state


def diagram() -> str:
    """The table as a Graphviz graph, for the documentation."""
    lines = ["digraph enrollment {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for event, moves in TABLE.items():
        style = ", style=dashed" if event is Event.ABANDONED else ""
        lines += [
            f'  {source.value} -> {moves[source].value} [label="{event.value}"{style}];'
            for source in State
            if source in moves
        ]
    return "\n".join([*lines, "}", ""])
