"""Many at once: threads, connections and processes. One row for a key, one winner for a move."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from kipuka.store.rows import State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, SECOND, Place, application, process

T = TypeVar("T")
LATER = NOW + timedelta(hours=1)
THREADS = 8
LIMIT_SECONDS = 60


def at_once(call: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """Make the call in so many threads, all let loose at the same moment; it is given the thread's number."""
    gate = threading.Barrier(threads)

    def run(number: int) -> T:
        gate.wait(LIMIT_SECONDS)
        return call(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads), timeout=LIMIT_SECONDS))


@pytest.fixture
def stores(place: Place) -> list[Store]:
    """Two, as two nodes have them; the threads take turns."""
    return [place.open(), place.open()]


@pytest.mark.parametrize("number", range(5))
def test_join_at_the_same_instant(stores: list[Store], number: int) -> None:
    rows = at_once(lambda n: stores[n % 2].join(application(number), NOW))
    assert len({row.id for row in rows}) == 1
    assert stores[0].counts()[State.RECEIVED] == 1


@pytest.mark.parametrize("number", range(5))
def test_one_takes_the_row(stores: list[Store], number: int) -> None:
    row = stores[0].join(application(number), NOW)
    moved = at_once(
        lambda n: stores[n % 2].move(row.id, {State.RECEIVED}, State.SUBMITTING, LATER, process=f"{n}", submitted=LATER)
    )
    assert [each for each in moved if each is not None] == [stores[0].get(row.id)]


def test_each_row_is_retired_by_one(stores: list[Store]) -> None:
    rows = {stores[0].join(application(number), NOW).id for number in range(20)}
    closed = Counter(row.id for each in at_once(lambda n: stores[n % 2].retire(LATER, LATER, LATER)) for row in each)
    assert closed == Counter(rows)


def test_one_has_the_lease(stores: list[Store]) -> None:
    for now in (NOW, NOW + 10 * SECOND, NOW + 20 * SECOND):

        def take(number: int, now: datetime = now) -> bool:
            return stores[number % 2].lease("poll", f"{number}", now, 10)

        assert Counter(at_once(take)) == {True: 1, False: THREADS - 1}


def test_everything_at_once(stores: list[Store]) -> None:
    """Threads that join, take, finish, retire and clean the same few keys: each is issued for exactly once a round."""
    issued: Counter[int] = Counter()
    rounds = 5

    def client(number: int) -> None:
        store = stores[number % 2]
        for turn in range(rounds):
            now = NOW + turn * timedelta(hours=1)
            store.retire(now, now, NOW)  # the round before
            for key in range(4):
                row = store.join(application(key), now)
                if store.move(row.id, {State.RECEIVED}, State.SUBMITTING, now, process=f"{number}"):
                    issued[row.id] += 1
                    store.move(row.id, {State.SUBMITTING}, State.DELIVERED, now, delivered=now)
            store.clean(now - timedelta(days=1))
            meet.wait(LIMIT_SECONDS)

    meet = threading.Barrier(6)
    at_once(client, 6)
    assert len(issued) == 4 * rounds
    assert set(issued.values()) == {1}


STARTER = """
import sys
from kipuka.store.store import Store
print("ready", flush=True)
sys.stdin.readline()
store = Store.open(sys.argv[1])
print(sum(store.counts().values()), flush=True)
store.close()
"""


def test_processes_that_start_at_once_on_an_empty_database(place: Place) -> None:
    started = [process(STARTER, place.url) for _ in range(4)]
    try:
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in started:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        assert [each.communicate(timeout=LIMIT_SECONDS) for each in started] == [("0\n", None)] * 4
        assert [each.returncode for each in started] == [0] * 4
    finally:
        for each in started:
            each.kill()
            each.communicate()
