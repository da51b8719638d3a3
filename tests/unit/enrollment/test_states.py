from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.enrollment.ledger.states import TABLE, Event, diagram, sources, target
from kipuka.store.rows import OPEN, State

ROOT = Path(__file__).parents[3]


def test_every_event_has_a_row_and_one_target() -> None:
    assert set(TABLE) == set(Event)
    for event in Event:
        assert target(event) in State
        assert sources(event)


def test_nothing_leaves_closed() -> None:
    assert not any(State.CLOSED in moves for moves in TABLE.values())


def test_every_open_state_can_be_left_without_an_administrator() -> None:
    for state in OPEN:
        assert any(state in moves for event, moves in TABLE.items() if event is not Event.ABANDONED)


def test_every_state_is_reached_from_received() -> None:
    reached = {State.RECEIVED}
    while True:
        more = {moves[state] for moves in TABLE.values() for state in reached if state in moves}
        if more <= reached:
            break
        reached |= more
    assert reached == set(State)


@pytest.mark.parametrize("state", [State.ISSUED, State.DELIVERED, State.REJECTED, State.UNKNOWN, State.PENDING])
def test_what_may_be_at_the_ca_is_never_taken_for_submission_again(state: State) -> None:
    assert state not in TABLE[Event.TAKEN]


def test_only_a_proven_absence_makes_an_unknown_request_free_again() -> None:
    freeing = {event for event, moves in TABLE.items() if moves.get(State.UNKNOWN) is State.RECEIVED}
    assert freeing == {Event.ABSENT}


def test_the_diagram_in_the_documentation_is_the_table() -> None:
    assert (ROOT / "docs" / "ledger.dot").read_text() == diagram()


def test_the_tables_in_the_documentation_are_the_table() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    life = text[text.index("## The life of a request") :]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in life.splitlines() if line.startswith("|")]
    states, events = rows[: rows.index(["event", "from", "to"])], rows[rows.index(["event", "from", "to"]) + 2 :]
    assert [name.strip("`") for name, *_ in states[2:]] == [state.value for state in State]
    told = {
        (source.strip(" `"), name, to.strip("`"))
        for name, sources, to in events[: len(Event)]
        for source in sources.split(",")
    }
    assert told == {
        (source.value, event.value, to.value) for event, moves in TABLE.items() for source, to in moves.items()
    }
