"""What a ledger promises of its rows, in SQLite and in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from kipuka.store.rows import OPEN, State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, SECOND, Place, application

LATER = NOW + SECOND


def test_join_writes_a_new_row(place: Place, store: Store) -> None:
    wanted = replace(application(), label="printers", profile="caServerCert")
    row = store.join(wanted, NOW)
    assert row.application == wanted
    assert (row.state, row.created, row.updated) == (State.RECEIVED, NOW, NOW)
    assert (row.process, row.submitted, row.absent_since, row.request_id) == (None, None, None, None)
    assert (row.serial, row.certificate, row.reason, row.delivered) == (None, None, None, None)
    assert place.open().get(row.id) == row


def test_join_of_a_key_that_is_open_returns_its_row(store: Store) -> None:
    row = store.join(application(), NOW)
    for state in OPEN:
        row = store.move(row.id, OPEN, state, LATER) or row
        assert row.state is state
        again = replace(application(), caller="user:bob", subject="CN=other")  # the key alone decides
        assert store.join(again, LATER) == row
    assert store.join(application(2), NOW).id != row.id


def test_join_of_a_closed_key_is_a_new_row(store: Store) -> None:
    first = store.join(application(), NOW)
    store.move(first.id, {State.RECEIVED}, State.CLOSED, NOW)
    second = store.join(application(), LATER)
    assert second.id > first.id
    assert (second.state, second.created) == (State.RECEIVED, LATER)


def test_find(store: Store) -> None:
    row = store.join(application(), NOW)
    assert store.find(application().key) == row
    assert store.find(application(2).key) is None
    store.move(row.id, OPEN, State.CLOSED, LATER)
    assert store.find(application().key) is None


def test_get_of_a_row_that_is_not_there(store: Store) -> None:
    for number in (-1, 0, 1, 2**63 - 1, 2**63, 10**30):
        assert store.get(number) is None


def test_move_changes_what_it_is_told_and_nothing_else(store: Store) -> None:
    row = store.join(application(), NOW)
    other = store.join(application(2), NOW)
    moved = store.move(row.id, {State.RECEIVED, State.UNKNOWN}, State.SUBMITTING, LATER, process="p", submitted=LATER)
    assert moved == replace(row, state=State.SUBMITTING, updated=LATER, process="p", submitted=LATER)
    assert store.get(row.id) == moved
    certificate = bytes(range(256))
    issued = store.move(
        row.id,
        {State.SUBMITTING},
        State.ISSUED,
        LATER,
        certificate=certificate,
        serial="0x1f",
        request_id="7",
        not_after=LATER,
    )
    assert issued == replace(
        moved, state=State.ISSUED, certificate=certificate, serial="0x1f", request_id="7", not_after=LATER
    )
    cleared = store.move(row.id, {State.ISSUED}, State.ISSUED, LATER, process=None)
    assert cleared == replace(issued, process=None)
    assert store.get(other.id) == other


def test_move_from_a_state_the_row_is_not_in_does_nothing(store: Store) -> None:
    row = store.join(application(), NOW)
    assert store.move(row.id, OPEN - {State.RECEIVED}, State.ISSUED, LATER, serial="0x1") is None
    assert store.move(row.id, (), State.ISSUED, LATER) is None
    assert store.move(row.id + 1, OPEN, State.ISSUED, LATER) is None
    assert store.get(row.id) == row


def test_move_of_a_submission_that_has_been_followed_by_another_does_nothing(store: Store) -> None:
    fresh = store.join(application(), NOW)
    first = store.move(fresh.id, OPEN, State.SUBMITTING, NOW, fresh, process="p", submitted=NOW)
    assert first is not None
    assert store.move(first.id, OPEN, State.RECEIVED, NOW, fresh) is None
    for process, submitted in (("p", LATER), ("q", NOW)):
        second = store.move(first.id, OPEN, State.SUBMITTING, LATER, process=process, submitted=submitted)
        assert store.move(first.id, OPEN, State.RECEIVED, LATER, first) is None
        assert store.get(first.id) == second
        assert store.move(first.id, OPEN, State.SUBMITTING, LATER, second, process="p", submitted=NOW)
    assert store.move(first.id, OPEN, State.ISSUED, LATER, first) is not None


def test_a_closed_row_stays_closed(store: Store) -> None:
    row = store.join(application(), NOW)
    store.move(row.id, OPEN, State.CLOSED, LATER, reason="over")
    assert store.move(row.id, OPEN, State.ISSUED, LATER) is None
    with pytest.raises(ValueError, match="a closed row stays closed"):
        store.move(row.id, State, State.RECEIVED, LATER)


def test_move_refuses_what_is_not_to_be_changed(store: Store) -> None:
    row = store.join(application(), NOW)
    with pytest.raises(TypeError, match="a move cannot change key"):
        store.move(row.id, OPEN, State.ISSUED, LATER, key="0" * 64)  # type: ignore[call-arg]


def test_times_are_kept_to_the_microsecond_and_come_back_in_utc(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=-7)))
    row = store.join(application(), there)
    assert row.created == NOW
    assert row.created.utcoffset() == timedelta(0)
    ancient = datetime(1950, 1, 1, 0, 0, 0, 1, tzinfo=timezone.utc)  # noqa: UP017
    moved = store.move(row.id, OPEN, State.UNKNOWN, LATER, absent_since=ancient)
    assert moved is not None
    assert moved.absent_since == ancient
    with pytest.raises(Exception, match="aware times only"):
        store.move(row.id, OPEN, State.UNKNOWN, LATER.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("CN=Zoë 石 🗝", "CN=Zoë 石 🗝"),
        ("'; DROP TABLE enrollments; --", "'; DROP TABLE enrollments; --"),
        ("%s ? :x {y} \\", "%s ? :x {y} \\"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("half \ud800 pair", "half ? pair"),
        ("", ""),
        ("x" * 100_000, "x" * 100_000),
    ],
    ids=range(7),
)
def test_text_of_any_kind(store: Store, written: str, kept: str) -> None:
    row = store.join(replace(application(), subject=written, caller=written, label=written), NOW)
    moved = store.move(row.id, OPEN, State.REJECTED, NOW, reason=written)
    assert moved is not None
    assert (moved.application.subject, moved.application.caller, moved.reason) == (kept, kept, kept)
    assert store.page(caller=written[:50], label=written) == [moved]


def test_changed(store: Store) -> None:
    rows = [store.join(application(n), NOW + n * SECOND) for n in range(4)]
    assert store.changed(NOW) == rows
    assert store.changed(NOW + 2 * SECOND) == rows[2:]
    assert store.changed(NOW + 2 * SECOND + timedelta(microseconds=1)) == rows[3:]
    moved = store.move(rows[0].id, OPEN, State.CLOSED, NOW + 9 * SECOND)
    assert store.changed(NOW + 3 * SECOND) == [rows[3], moved]
    assert store.changed(NOW + 10 * SECOND) == []


def test_in_states(store: Store) -> None:
    ours = [store.join(application(n), NOW) for n in range(3)]
    store.join(application(9, ca="other"), NOW)
    pending = store.move(ours[1].id, OPEN, State.PENDING, LATER)
    assert store.in_states("ca", [State.RECEIVED]) == [ours[0], ours[2]]
    assert store.in_states("ca", {State.RECEIVED, State.PENDING}) == [ours[0], pending, ours[2]]
    assert store.in_states("ca", {State.ISSUED}) == []
    assert store.in_states("ca", ()) == []
    assert store.in_states("nobody", State) == []


def test_of_key_finds_the_closed_ones_too(store: Store) -> None:
    first = store.join(application(1), NOW)
    closed = store.move(first.id, OPEN, State.CLOSED, LATER)
    store.join(application(2), NOW)
    clones = store.join(replace(application(3, ca="clone"), public_key=first.application.public_key), NOW)
    store.join(replace(application(5, ca="other"), public_key=first.application.public_key), NOW)
    again = store.join(replace(application(4), public_key=first.application.public_key), NOW)
    assert store.of_key({"ca"}, first.application.public_key) == [closed, again]
    assert store.of_key({"ca", "clone"}, first.application.public_key) == [closed, clones, again]
    assert store.of_key({"ca"}, "nobody's") == []


def test_counts(store: Store) -> None:
    assert store.counts() == dict.fromkeys(State, 0)
    for number in range(3):
        store.join(application(number), NOW)
    store.move(store.join(application(0), NOW).id, OPEN, State.PENDING, LATER)
    assert store.counts() == dict.fromkeys(State, 0) | {State.RECEIVED: 2, State.PENDING: 1}


def test_page(store: Store) -> None:
    rows = [
        store.join(application(1, caller="user:alice"), NOW),
        store.join(application(2, caller="certificate:CN=Alice", label="printers"), NOW),
        store.join(application(3, caller="user:bob_100%", ca="other"), NOW),
        store.join(application(4, caller="user:bob", label="printers"), NOW),
    ]
    rows[3] = store.move(rows[3].id, OPEN, State.CLOSED, LATER) or rows[3]

    def numbers(**filters: object) -> list[int]:
        return [rows.index(row) + 1 for row in store.page(**filters)]  # type: ignore[arg-type]

    assert numbers() == [4, 3, 2, 1]
    assert numbers(states=OPEN) == [3, 2, 1]
    assert numbers(states={State.CLOSED}) == [4]
    assert numbers(states=()) == []
    assert numbers(ca_id="other") == [3]
    assert numbers(label="printers") == [4, 2]
    assert numbers(caller="ALICE") == [2, 1]
    assert numbers(caller="bob_") == [3]  # marks of LIKE are taken as they are
    assert numbers(caller="%") == [3]
    assert numbers(caller="bob", label="printers", states=OPEN) == []
    assert numbers(limit=2) == [4, 3]
    assert numbers(limit=2, before=rows[2].id) == [2, 1]
    assert numbers(limit=0) == [4]
    assert numbers(before=rows[0].id) == []
    assert numbers(before=10**30) == [4, 3, 2, 1]


def test_clean(store: Store) -> None:
    rows = [store.join(application(n), NOW) for n in range(4)]
    for row, seconds in zip(rows[:3], (1, 2, 3), strict=True):
        store.move(row.id, OPEN, State.CLOSED, NOW + seconds * SECOND)
    assert store.clean(NOW + SECOND) == 0
    assert store.clean(NOW + 3 * SECOND) == 2
    assert [store.get(row.id) is None for row in rows] == [True, True, False, False]
    assert store.clean(NOW + 100 * SECOND) == 1  # open rows stay, however old
    assert store.clean(NOW + 100 * SECOND) == 0
    assert store.get(rows[3].id) == rows[3]


@pytest.mark.parametrize("state", [State.SUBMITTING, State.UNKNOWN])
def test_clean_leaves_what_others_got_for_a_key_that_is_looked_up(store: Store, state: State) -> None:
    """Without it the certificate of the one would be taken for the lost answer of the other."""
    got, other = store.join(application(1), NOW), store.join(application(2), NOW)
    for row in (got, other):
        store.move(row.id, OPEN, State.CLOSED, NOW)
    lost = store.join(application(1), NOW)
    store.move(lost.id, OPEN, state, NOW)
    assert store.clean(LATER) == 1
    assert store.get(got.id) is not None
    store.move(lost.id, OPEN, State.ISSUED, NOW)
    assert store.clean(LATER) == 1


def test_clean_takes_a_few_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipuka.store.store._AT_ONCE", 2)
    for number in range(5):
        store.move(store.join(application(number), NOW).id, OPEN, State.CLOSED, NOW)
    assert [store.clean(LATER) for _ in range(4)] == [2, 2, 1, 0]
    assert store.counts()[State.CLOSED] == 0


def test_retire_closes_what_was_delivered_and_what_nobody_came_back_for(store: Store) -> None:
    for number, state in enumerate(sorted(OPEN, key=str)):
        row = store.join(application(number), NOW)
        store.move(row.id, OPEN, state, NOW, delivered=NOW if state is State.DELIVERED else None)
    assert store.retire(LATER, NOW, NOW) == []
    (delivered,) = store.retire(LATER, LATER, NOW)
    assert (delivered.state, delivered.delivered, delivered.updated) == (State.CLOSED, NOW, LATER)
    assert store.get(delivered.id) == delivered
    others = store.retire(LATER, LATER, LATER)
    assert len(others) == 2
    left = {row.state for row in store.page(states=OPEN)}
    assert left == {State.SUBMITTING, State.UNKNOWN, State.PENDING, State.ISSUED}
    assert store.page(states={State.CLOSED}) == sorted([delivered, *others], key=lambda row: -row.id)


def test_retire_closes_certificates_that_expired_before_anybody_came(store: Store) -> None:
    expiries = [NOW, LATER, LATER + SECOND, None]
    rows = [store.join(application(number), NOW) for number in range(len(expiries))]
    for row, not_after in zip(rows, expiries, strict=True):
        store.move(row.id, OPEN, State.ISSUED, NOW, not_after=not_after)
    assert [row.id for row in store.retire(LATER, NOW, NOW)] == [rows[0].id, rows[1].id]
    other = store.join(application(9), NOW)
    store.move(other.id, OPEN, State.PENDING, NOW, not_after=NOW)
    assert store.retire(LATER, NOW, NOW) == []


def test_retire_leaves_what_was_just_asked_for_again(store: Store) -> None:
    """Or its client, who is about to submit it, would find it closed."""
    row = store.join(application(), NOW)
    again = store.join(application(), LATER)
    assert (again.id, again.created, again.updated) == (row.id, NOW, LATER)
    assert store.retire(LATER, LATER, LATER) == []
    store.move(row.id, OPEN, State.UNKNOWN, LATER)
    unknown = store.join(application(), LATER + SECOND)
    assert unknown.updated == LATER  # how long look-ups have gone on is counted from it


def test_retire_takes_some_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipuka.store.store._RETIRED_AT_ONCE", 2)
    for number in range(3):
        store.join(application(number), NOW)
    assert [len(store.retire(LATER, LATER, LATER)) for _ in range(3)] == [2, 1, 0]


def test_numbers_are_not_given_twice(place: Place, store: Store) -> None:
    row = store.join(application(), NOW)
    store.move(row.id, OPEN, State.CLOSED, NOW)
    assert store.clean(LATER) == 1
    assert place.open().join(application(), NOW).id > row.id


def test_at_cas_counts_what_a_ca_has_or_may_have(store: Store) -> None:
    for number, state in enumerate([*State, State.PENDING]):
        row = store.join(application(number, ca="two" if state is State.PENDING else "one"), NOW)
        store.move(row.id, OPEN, state, NOW)
    assert store.at_cas() == {"one": 2, "two": 2}


def test_serials_of_a_ca_since_a_time(store: Store) -> None:
    for number, (ca, updated) in enumerate([("ca", NOW - SECOND), ("ca", NOW), ("other", NOW), ("ca", LATER)]):
        row = store.join(application(number, ca=ca), NOW)
        store.move(row.id, OPEN, State.DELIVERED if number else State.ISSUED, updated, serial=hex(number))
    store.join(application(9), NOW)
    assert store.serials({"ca"}, NOW) == {"0x1", "0x3"}
