"""Leases, signs of life, and rows whose process is gone."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kipuka.store.rows import OPEN, State
from kipuka.store.store import Store, StoreUnavailable
from tests.unit.store.places import NOW, SECOND, Place, SqlitePlace, application, process


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
    for number, name in enumerate(("alive", "dead", "woken", "never seen", None)):
        row = store.join(application(number), NOW)
        rows[name] = store.move(row.id, OPEN, State.SUBMITTING, NOW, process=name)
    pending = store.join(application(9), NOW)
    store.move(pending.id, OPEN, State.PENDING, NOW, process="dead")
    assert store.orphans(NOW - 60 * SECOND) == [rows["dead"], rows["never seen"], rows[None]]
    assert store.orphans(NOW - 100 * SECOND) == [rows["never seen"], rows[None]]


def test_processes_that_are_long_gone_are_forgotten(place: Place, store: Store) -> None:
    store.beat("a", NOW)
    store.beat("b", NOW + 9 * SECOND)
    store.clean(NOW + SECOND)
    assert place.sql("SELECT count(*) FROM processes") == "1"


DIES_SUBMITTING = """
import os, signal, sys
from kipuka.store.rows import OPEN, State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, application
store = Store.open(sys.argv[1])
store.arrive()
store.beat("dead", NOW)
store.lease("poll ca", "dead", NOW, 10)
row = store.join(application(), NOW)
store.move(row.id, OPEN, State.SUBMITTING, NOW, process="dead")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_dead_process_left_is_taken_up_at_once_where_its_death_is_certain(place: Place, store: Store) -> None:
    with process(DIES_SUBMITTING, place.url) as dead:
        assert dead.wait(60) == -signal.SIGKILL
    is_certain = isinstance(place, SqlitePlace)
    store.arrive()
    assert store.lease("poll ca", "alive", NOW + SECOND, 10) is is_certain
    assert len(store.orphans(NOW)) == is_certain
    assert len(store.orphans(NOW + 20 * SECOND)) == 1


def test_nobody_is_buried_while_one_lives(place: Place, store: Store) -> None:
    first, second, third = store, place.open(), place.open()
    first.arrive()
    first.beat("first", NOW)
    first.lease("poll ca", "first", NOW, 10)
    second.arrive()
    assert not second.lease("poll ca", "second", NOW + SECOND, 10)
    first.close()
    third.arrive()  # the second is still there
    assert not third.lease("poll ca", "third", NOW + SECOND, 10)


def test_processes_that_arrive_at_the_same_instant_all_count(place: Place) -> None:
    stores = [place.open() for _ in range(8)]
    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(Store.arrive, stores, timeout=60))
    stores[0].lease("poll ca", "first", NOW, 10)
    for each in stores[1:]:
        late = place.open()
        late.arrive()
        assert not late.lease("poll ca", "late", NOW + SECOND, 10)
        late.close()
        each.close()


def test_a_lock_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "kipuka.db")
    (tmp_path / "kipuka.db.lock").mkdir()
    store = place.open()
    with pytest.raises(StoreUnavailable, match=r"kipuka\.db\.lock"):
        store.arrive()
    place.close()
