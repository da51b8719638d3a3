"""Leases, signs of life, and rows whose process is gone."""

from __future__ import annotations

from kipuka.store.rows import OPEN, State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, SECOND, Place, application


def test_lease_belongs_to_one_until_it_runs_out(place: Place, store: Store) -> None:
    other = place.open()
    assert store.lease("poll ca", "a", NOW, 10)
    assert not other.lease("poll ca", "b", NOW, 10)
    assert other.lease("poll other", "b", NOW, 10)
    assert not other.lease("poll ca", "b", NOW + 9.999 * SECOND, 10)
    assert other.lease("poll ca", "b", NOW + 10 * SECOND, 10)
    assert not store.lease("poll ca", "a", NOW + 11 * SECOND, 10)


def test_lease_is_renewed(store: Store) -> None:
    assert store.lease("poll ca", "a", NOW, 10)
    assert store.lease("poll ca", "a", NOW + 8 * SECOND, 10)
    assert not store.lease("poll ca", "b", NOW + 12 * SECOND, 10)
    assert store.lease("poll ca", "b", NOW + 18 * SECOND, 0.5)
    assert store.lease("poll ca", "a", NOW + 18.5 * SECOND, 10)


def test_release_gives_back_what_is_ours(store: Store) -> None:
    store.lease("poll ca", "a", NOW, 10)
    store.release("poll ca", "b")
    assert not store.lease("poll ca", "b", NOW, 10)
    store.release("poll ca", "a")
    store.release("poll ca", "a")
    assert store.lease("poll ca", "b", NOW, 10)


def test_orphans(store: Store) -> None:
    store.beat("alive", NOW)
    store.beat("dead", NOW - 61 * SECOND)
    store.beat("woken", NOW - 61 * SECOND)
    store.beat("woken", NOW - 60 * SECOND)
    rows = {}
    for number, process in enumerate(("alive", "dead", "woken", "never seen", None)):
        row = store.join(application(number), NOW, NOW)
        rows[process] = store.move(row.id, OPEN, State.SUBMITTING, NOW, process=process)
    pending = store.join(application(9), NOW, NOW)
    store.move(pending.id, OPEN, State.PENDING, NOW, process="dead")
    assert store.orphans(NOW - 60 * SECOND) == [rows["dead"], rows["never seen"], rows[None]]
    assert store.orphans(NOW - 100 * SECOND) == [rows["never seen"], rows[None]]


def test_processes_that_are_long_gone_are_forgotten(place: Place, store: Store) -> None:
    store.beat("a", NOW)
    store.beat("b", NOW + 9 * SECOND)
    store.clean(NOW + SECOND)
    assert place.sql("SELECT count(*) FROM processes") == "1"
