"""What a record looks like, whatever is in it."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.enrollment.ledger.states import Event
from kipuka.observe.audit.chain import BEGINNING, read, seal
from kipuka.observe.audit.record import LARGEST, LONGEST, AuditEvent, Record, line
from tests.unit.observe.audit.records import NOW

NUMBERS = {"enrollment", "errno", "depth", "count"}
TEXTS = [each.name for each in fields(Record) if each.name not in {"event", "time"} | NUMBERS]


HASH = "2346166d3e9af64094a9d57cb7cab217e578033d7436993ec3085afcdaf8b8b4"
"""Of the line below without the field, by sha256sum."""


def test_the_canonical_form() -> None:
    """Other programs recompute the hash from this very line: it does not change."""
    made = Record(
        event=AuditEvent.GRANTED,
        time=NOW,
        node="ra1",
        caller="user:alice",
        label="",
        subject="CN=dev\u00e9\n1",
        enrollment=7,
        depth=0,
    )
    text, link = seal(made, BEGINNING)
    assert text == (
        '{"seq": 1, "time": "2026-11-23T12:00:00.123456Z", "event": "enrollment granted", "node": "ra1", '
        '"caller": "user:alice", "subject": "CN=dev\\u00e9\\n1", "enrollment": 7, "depth": 0, '
        f'"previous": "{"0" * 64}", '
        f'"hash": "{HASH}"}}'
    )
    assert link.hash == HASH


def test_times_are_written_in_utc() -> None:
    made = Record(event=AuditEvent.STARTED, time=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert made.values()["time"] == "2026-11-23T12:00:00.123456Z"


@given(st.fixed_dictionaries({name: st.text() for name in TEXTS}))
def test_whatever_is_in_it_it_is_one_line_of_printable_ascii(texts: dict[str, str]) -> None:
    made = Record.of(AuditEvent.REFUSAL, texts)
    text = line(made)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= LARGEST
    assert json.loads(text) == made.values()
    sealed, _ = seal(made, BEGINNING)
    assert read(sealed).facts.items() >= made.values().items()


@pytest.mark.parametrize(
    "mark", ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ud800", "\u200b"]
)
def test_what_would_fool_a_terminal_is_escaped(mark: str) -> None:
    text = line(Record(event=AuditEvent.REFUSAL, subject=f"CN=a{mark}b"))
    assert mark not in text
    assert json.loads(text)["subject"] == f"CN=a{mark}b"


def test_long_fields_are_cut() -> None:
    values = Record(event=AuditEvent.REFUSAL, cause="x" * 2 * LONGEST).values()
    assert values["cause"] == "x" * (LONGEST - 1) + "…"


@pytest.mark.parametrize("mark", ["x", "\U0001f511", "\n"])
def test_the_whole_is_bounded_too(mark: str) -> None:
    made = Record.of(AuditEvent.REFUSAL, dict.fromkeys(TEXTS, mark * 5000))
    text, _ = seal(made, BEGINNING)
    assert len(text) < 2 * LARGEST
    assert read(text).facts["caller"].endswith("…")


def test_a_fact_that_no_record_has_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        Record.of(AuditEvent.REFUSAL, {"password": "secret"})


def test_every_event_of_the_ledger_has_one_here() -> None:
    assert {f"enrollment {event.value}" for event in Event} <= {event.value for event in AuditEvent}
