"""A file CA's book in memory, and the way into it without threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from kipuka.authority.local.book import Book, Sign
from kipuka.store.certificates import Crl, Entry

T = TypeVar("T")


class MemoryBook:
    """Keeps what it is told; ``trouble`` is raised instead once it is set."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}
        self.lists: dict[str, Crl] = {}
        self.trouble: Exception | None = None

    async def __call__(self, work: Callable[[Book], T], /) -> T:
        if self.trouble is not None:
            raise self.trouble
        return work(self)

    def add(self, ca_id: str, serial: int, subject: str, not_after: datetime) -> None:
        assert (ca_id, serial) not in self.entries
        self.entries[ca_id, serial] = Entry(serial, subject, not_after)

    def get(self, ca_id: str, serial: int) -> Entry | None:
        return self.entries.get((ca_id, serial))

    def mark(
        self, ca_id: str, serial: int, before: int | None, reason: int | None, now: datetime, sign: Sign | None
    ) -> bool:
        entry = self.entries[ca_id, serial]
        if entry.reason != before:
            return False
        self.entries[ca_id, serial] = replace(entry, revoked=None if reason is None else now, reason=reason)
        if sign is not None:
            self.publish(ca_id, now, sign)
        return True

    def publish(self, ca_id: str, now: datetime, sign: Sign) -> None:
        listed = [
            entry
            for (ca, _), entry in sorted(self.entries.items())
            if ca == ca_id and entry.reason is not None and entry.not_after >= now - timedelta(days=2)
        ]
        number = self.crl_number(ca_id) + 1
        self.lists[ca_id] = Crl(number, sign(number, listed))

    def crl_number(self, ca_id: str) -> int:
        return self.lists[ca_id].number if ca_id in self.lists else 0

    def crl(self, ca_id: str) -> Crl | None:
        return self.lists.get(ca_id)
