"""A file CA's book in memory, and the way into it without threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
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

    def add(self, ca_key: str, serial: int, subject: str, not_after: datetime) -> None:
        assert (ca_key, serial) not in self.entries
        self.entries[ca_key, serial] = Entry(serial, subject, not_after)

    def find(self, ca_key: str, serials: Collection[int]) -> list[Entry]:
        return [self.entries[ca_key, serial] for serial in serials if (ca_key, serial) in self.entries]

    def mark(
        self, ca_key: str, serial: int, before: int | None, reason: int | None, now: datetime, sign: Sign | None
    ) -> bool:
        entry = self.entries[ca_key, serial]
        if entry.reason != before:
            return False
        self.entries[ca_key, serial] = replace(entry, revoked=None if reason is None else now, reason=reason)
        if sign is not None:
            self.publish(ca_key, now, sign)
        return True

    def publish(self, ca_key: str, now: datetime, sign: Sign, last: datetime | None = None) -> None:
        listed = [
            entry
            for (ca, _), entry in sorted(self.entries.items())
            if ca == ca_key and entry.reason is not None and entry.not_after >= now - timedelta(days=2)
        ]
        number = max(self.crl_number(ca_key) + 1, int(now.timestamp() * 1000))
        self.lists[ca_key] = Crl(number, sign(number, listed))
        for key, entry in list(self.entries.items()):
            if key[0] == ca_key and last is not None and entry.not_after < last - timedelta(days=30):
                del self.entries[key]

    def crl_number(self, ca_key: str) -> int:
        return self.lists[ca_key].number if ca_key in self.lists else 0

    def crl(self, ca_key: str) -> Crl | None:
        return self.lists.get(ca_key)
