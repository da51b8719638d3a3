"""Ten thousand requests waiting for an agent. The times are printed (pytest -s), not judged."""

from __future__ import annotations

import time

from sqlalchemy import insert

from kipuka.store.rows import State
from kipuka.store.schema import enrollments
from kipuka.store.store import Store, _columns
from tests.unit.store.places import NOW, SECOND, application

MANY = 10_000


def test_ten_thousand_pending(store: Store) -> None:
    state = {"state": State.PENDING, "created": NOW, "updated": NOW}
    values = [_columns(application(number)) | state for number in range(MANY)]
    with store._database.write() as connection:
        connection.execute(insert(enrollments), values)
    started = time.perf_counter()
    assert len(store.in_states("ca", {State.PENDING, State.UNKNOWN})) == MANY
    listed = time.perf_counter()
    assert store.changed(NOW + SECOND) == []
    asked = time.perf_counter()
    assert store.counts()[State.PENDING] == MANY
    counted = time.perf_counter()
    print(
        f"{MANY} pending: in_states {1000 * (listed - started):.0f} ms, "
        f"changed {1000 * (asked - listed):.1f} ms, counts {1000 * (counted - asked):.1f} ms"
    )
