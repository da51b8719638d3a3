"""The audit's chain in the database, in SQLite and in PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from kipuka.observe.audit.chain import Walk
from kipuka.observe.audit.record import AuditEvent, Record
from kipuka.store.rows import OPEN, Enrollment, State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, SECOND, Place, application

LATER = NOW + SECOND


def record(number: int = 1, **facts: object) -> Record:
    made = Record.of(AuditEvent.REFUSAL, {"enrollment": number, **facts})
    return replace(made, time=NOW + number * SECOND)


def faults(store: Store) -> list[str]:
    return list(store.audit.check(Walk()))


def numbers(store: Store, **filters: object) -> list[int]:
    return [entry.facts["enrollment"] for entry in store.audit.page(**filters)]  # type: ignore[arg-type]


def test_an_empty_chain(store: Store) -> None:
    assert store.audit.page() == []
    assert faults(store) == []
    store.audit.append([])
    assert store.audit.page() == []
    assert store.audit.clean(NOW) == 0


def test_what_is_appended_is_a_chain_newest_first(place: Place, store: Store) -> None:
    store.audit.append([record(1), record(2)])
    place.open().audit.append([record(3)])
    entries = store.audit.page()
    assert [entry.seq for entry in entries] == [3, 2, 1]
    assert entries[0].previous == entries[1].hash
    assert entries[0].facts["event"] == "refusal"
    assert faults(store) == []


def test_pages(store: Store) -> None:
    store.audit.append([record(number) for number in range(1, 8)])
    assert numbers(store, limit=3) == [7, 6, 5]
    assert numbers(store, limit=3, before=5) == [4, 3, 2]
    assert numbers(store, limit=3, before=2) == [1]
    assert numbers(store, limit=0) == [7]
    assert numbers(store, before=10**30) == [7, 6, 5, 4, 3, 2, 1]


def test_a_damaged_record_is_not_the_end_of_the_list(place: Place, store: Store) -> None:
    store.audit.append([record(number) for number in range(1, 8)])
    place.sql("UPDATE audit SET line = 'x' WHERE seq IN (5, 6)")
    assert numbers(store, limit=3) == [7, 4, 3]
    assert numbers(store, limit=7) == [7, 4, 3, 2, 1]


def test_filters(store: Store) -> None:
    store.audit.append(
        [
            record(1, ca="a", label="x", caller="user:alice"),
            record(2, ca="b", label="x", caller="certificate:CN=ALICE%"),
            replace(record(3, ca="a"), event=AuditEvent.STARTED),
        ]
    )
    assert numbers(store, ca_id="a") == [3, 1]
    assert numbers(store, label="x") == [2, 1]
    assert numbers(store, who="alice") == [2, 1]
    assert numbers(store, who="%") == [2]
    assert numbers(store, events=[AuditEvent.STARTED, AuditEvent.STOPPED]) == [3]
    assert numbers(store, events=[]) == []
    assert numbers(store, since=NOW + 2 * SECOND) == [3, 2]
    assert numbers(store, until=NOW + 2 * SECOND) == [1]
    assert numbers(store, ca_id="a", label="x", who="ALICE", since=NOW, until=NOW + 9 * SECOND) == [1]


def test_names_that_a_database_does_not_take(store: Store) -> None:
    store.audit.append([record(1, caller="user:\0\ud800", label="\u202e", ca="x" * 5000)])
    assert store.audit.page()[0].facts["caller"] == "user:\0\ud800"
    assert faults(store) == []


def test_records_that_had_to_be_cut(store: Store) -> None:
    store.audit.append([record(1, caller="é" * 1000, subject="é" * 1000, reason="é" * 1000, cause="é" * 1000)])
    assert faults(store) == []


def test_a_move_and_its_record_are_one(store: Store) -> None:
    row = store.join(application(), NOW)

    def describe(moved: Enrollment) -> Record:
        return record(moved.id, outcome=moved.state.value)

    def fails(moved: Enrollment) -> Record:
        raise ValueError(moved.state)

    assert store.move(row.id, {State.PENDING}, State.ISSUED, NOW, audit=describe) is None
    assert store.audit.page() == []
    with pytest.raises(ValueError, match="SUBMITTING"):
        store.move(row.id, OPEN, State.SUBMITTING, NOW, audit=fails)
    assert store.get(row.id) == row
    store.move(row.id, OPEN, State.SUBMITTING, NOW, audit=describe)
    (entry,) = store.audit.page()
    assert entry.facts["outcome"] == "submitting"


def test_what_is_retired_and_its_records_are_one(store: Store) -> None:
    rows = [store.join(application(number), NOW) for number in range(3)]

    def fails(closed: Enrollment) -> Record:
        raise ValueError(closed.state)

    assert store.retire(LATER, NOW, NOW, fails) == []
    with pytest.raises(ValueError, match="CLOSED"):
        store.retire(LATER, LATER, LATER, fails)
    assert [store.get(row.id) for row in rows] == rows
    store.retire(LATER, LATER, LATER, lambda closed: record(closed.id, outcome=closed.state.value))
    assert [(entry.facts["enrollment"], entry.facts["outcome"]) for entry in store.audit.page()] == [
        (row.id, "closed") for row in reversed(rows)
    ]
    assert faults(store) == []


def test_nodes_write_one_chain(place: Place) -> None:
    stores = [place.open() for _ in range(4)]
    rows = [stores[0].join(application(number), NOW) for number in range(4)]

    def work(store: Store, row: Enrollment) -> None:
        for _ in range(15):
            store.move(row.id, OPEN, State.SUBMITTING, NOW, audit=lambda moved: record(moved.id))
            store.audit.append([record(), record()])

    threads = [threading.Thread(target=work, args=pair) for pair in zip(stores, rows, strict=True)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    walk = Walk()
    assert list(stores[0].audit.check(walk)) == []
    assert walk.count == 4 * 15 * 3


def test_clean_keeps_a_chain_that_can_be_verified(store: Store) -> None:
    store.audit.append([record(number) for number in range(1, 1201)])
    before = NOW + 1101 * SECOND
    assert [store.audit.clean(before) for _ in range(4)] == [500, 500, 100, 0]
    assert numbers(store, limit=1000)[-1] == 1101
    assert faults(store) == []
    assert store.audit.clean(NOW + timedelta(days=1)) == 99
    assert numbers(store) == [1200]  # the newest one stays
    assert store.audit.clean(NOW + timedelta(days=1)) == 0
    store.audit.append([record(1201)])
    assert faults(store) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM audit WHERE seq = 3", ["row 4: record 3 is missing"]),
        ("DELETE FROM audit WHERE seq > 3", ["the last record was 5 with the hash"]),
        ("DELETE FROM audit WHERE seq > 0", ["the last record was 5 with the hash"]),
        ("UPDATE audit SET line = replace(line, 'alice', 'bob') WHERE seq = 2", ["row 2: record 2 was changed"]),
        ("UPDATE audit SET caller = 'user:bob' WHERE seq = 2", ["row 2: its columns were changed"]),
        ("UPDATE audit SET time = time + 1 WHERE seq = 2", ["row 2: its columns were changed"]),
        ("UPDATE audit SET line = 'x' WHERE seq = 2", ["row 2: is no record", "row 3: record 2 is missing"]),
        ("UPDATE audit SET seq = 99 WHERE seq = 5", ["row 99: holds record 5"]),
        ("DELETE FROM audit_end", ["the end of the chain is not known"]),
        ("UPDATE audit_end SET hash = '0'", ["the last record was 5 with the hash 0"]),
        ("DELETE FROM audit WHERE seq < 3", []),  # which is what clean does
    ],
)
def test_what_was_done_to_it_is_found(place: Place, store: Store, statement: str, expected: list[str]) -> None:
    store.audit.append([record(number, caller="user:alice") for number in range(1, 6)])
    place.sql(statement)
    found = faults(store)
    assert len(found) == len(expected), found
    for fault, beginning in zip(found, expected, strict=True):
        assert fault.startswith(beginning)
