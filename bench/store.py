"""How many rows a second the store writes down: SQLite, and PostgreSQL where Debian's package is installed.

    python -m bench.store

Every write waits for the disk, so the disk decides. An enrollment that is issued at once is one join and three moves.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from kipuka.store.rows import Application, Enrollment, State
from kipuka.store.store import Store
from tests.support import postgres

ROWS = 300
THREADS = 8


def main() -> None:
    """Measure what can be measured here."""
    with tempfile.TemporaryDirectory(prefix="kipuka-bench-") as folder:
        print(f"fdatasync of 4 KB: {_fdatasync(Path(folder)):.2f} ms")
        _measure("SQLite", f"sqlite:///{folder}/kipuka.db")
    if postgres.binaries() is None:
        sys.exit("No PostgreSQL server is installed: tests/support/install-postgresql")
    with postgres.Cluster() as cluster:
        _measure("PostgreSQL", cluster.database())


def _measure(name: str, url: str) -> None:
    store = Store.open(url, connections=THREADS)
    for threads in (1, THREADS):
        print(f"{name:<10} {threads} at a time: {', '.join(_figures(store, threads))}", flush=True)
    store.close()


def _figures(store: Store, threads: int) -> Iterator[str]:
    rows: list[Enrollment] = []
    first = threads * ROWS

    def join(number: int) -> None:
        rows.append(store.join(_application(first + number), _now()))

    def join_again(number: int) -> None:
        store.join(rows[number].application, _now())

    def move(number: int) -> None:
        store.move(rows[number].id, {State.RECEIVED}, State.ISSUED, _now(), certificate=b"x" * 900)

    def get(number: int) -> None:
        store.get(rows[number].id)

    for call in (join, join_again, move, get):
        yield f"{call.__name__.replace('_', ' ')} {_rate(call, threads):6.0f}/s"


def _rate(call: Callable[[int], object], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(call, range(ROWS)))
        return ROWS / (time.perf_counter() - started)


def _fdatasync(folder: Path) -> float:
    """Milliseconds."""
    with (folder / "probe").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(100):
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - started) * 10


def _application(number: int) -> Application:
    key = f"{number:064x}"
    return Application(key, "certificate:CN=bench", "simpleenroll", None, "ca", None, key, f"CN=device-{number}")


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
