"""What happened in a run and when, for all threads; and how far the run has come."""

from __future__ import annotations

import threading
import time
from pathlib import Path


class Journal:
    """Lines with the seconds since the start, kept to be written to a file; loud ones are printed at once."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._lines: list[str] = []
        self._lock = threading.Lock()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def note(self, who: str, what: str, *, loud: bool = False) -> None:
        """Add a line."""
        line = f"{self.now:8.2f}  {who:10}  {what}"
        with self._lock:
            self._lines.append(line)
        if loud:
            print(line, flush=True)

    def write(self, file: Path) -> None:
        """Write all lines, in the order of their times."""
        with self._lock:
            file.write_text("".join(f"{line}\n" for line in self._lines))


class Progress:
    """Counts operations that have ended, lets others wait for a count, and ends a run early."""

    def __init__(self, operations: int) -> None:
        self.operations = operations
        self._ended = 0
        self._changed = threading.Condition()
        self._trouble: str | None = None
        self._over = False

    @property
    def ended(self) -> int:
        """Operations that have ended, one way or another."""
        return self._ended

    @property
    def trouble(self) -> str | None:
        """Why the run was stopped early, if it was."""
        return self._trouble

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done."""
        return self._over

    def end_operations(self, number: int) -> None:
        """Count operations that have ended."""
        with self._changed:
            self._ended += number
            self._changed.notify_all()

    def wait_for(self, count: int) -> bool:
        """Return when so many operations have ended; False when the run is over before."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._ended >= count)
            return not self._over

    def pause(self, seconds: float) -> bool:
        """Sleep; False when the run is over before."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._over, timeout=seconds)

    def stop(self, trouble: str | None = None) -> None:
        """End the run: in order, or because of a trouble that makes its result meaningless."""
        with self._changed:
            self._over = True
            self._trouble = self._trouble or trouble
            self._changed.notify_all()
