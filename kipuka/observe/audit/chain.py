"""A chain of records: each has a number, the SHA-256 of the one before it, and its own over all the rest of its line.

What is hashed is the line itself without the field ``hash``, which is the last one: no second way of writing the same
record passes for it. Whoever can write all of a chain can make a new one that holds; what keeps them from that is a
copy of a late hash in another place (syslog, a second node's database, paper).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kipuka.observe.audit import record as records
from kipuka.observe.audit.record import Record

_LINE = re.compile(r'(\{"seq": [ -~]*), "hash": "([0-9a-f]{64})"\}', re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Link:
    """The end of a chain: the number and the hash of its last record."""

    seq: int
    hash: str


BEGINNING = Link(0, "0" * 64)
"""What the first record of a chain names as the one before it."""


class Broken(ValueError):  # noqa: N818 - what it is about is a record
    """A record is not as it was written; the text says in what."""

    def __init__(self, text: str, link: Link | None = None) -> None:
        super().__init__(text)
        self.link = link
        """What the record says of itself, as far as it can be read."""


@dataclass(frozen=True)
class Entry:
    """One record as it stands in a chain.

    :param facts: all of its JSON, as :class:`~kipuka.observe.audit.record.Record` and the chain have written it.
    """

    seq: int
    previous: str
    hash: str
    facts: dict[str, Any] = field(repr=False)

    @property
    def link(self) -> Link:
        """What the next record goes on from."""
        return Link(self.seq, self.hash)


def seal(record: Record, last: Link) -> tuple[str, Link]:
    """Write a record as the next of a chain: its line, and the chain's new end."""
    seq = last.seq + 1
    text = records.line(record, {"seq": seq}, {"previous": last.hash})
    digest = _digest(text)
    return f'{text[:-1]}, "hash": "{digest}"}}', Link(seq, digest)


def read(line: str) -> Entry:
    """Take a line apart.

    :raises Broken: it is no record, or not the one that was written.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise Broken("is no record of an audit")
    try:
        facts = json.loads(line)
        seq, previous = facts["seq"], facts["previous"]
    except (ValueError, KeyError, RecursionError):
        raise Broken("is no record of an audit") from None
    if not (type(seq) is int and seq > 0 and isinstance(previous, str) and _HASH.fullmatch(previous)):
        raise Broken("is no record of an audit")
    if _digest(f"{match[1]}}}") != match[2]:
        raise Broken(f"record {seq} was changed", Link(seq, match[2]))
    return Entry(seq, previous, match[2], facts)


class Walk:
    """Goes along a chain and finds what was done to it.

    :param after: the record that the first one has to follow; None: the first may be any.
    :param through: a record that has to be there.
    """

    def __init__(self, after: Link | None = None, through: Link | None = None) -> None:
        self.first: Entry | None = None
        self.last = after
        self.count = 0
        self._through = through

    def step(self, line: str) -> Iterator[str]:
        """Take the next line; what is wrong with it, or between it and the one before it."""
        self.count += 1
        try:
            entry = read(line)
        except Broken as broken:
            yield str(broken)
            self.last = broken.link or self.last
            return
        if self.first is None:
            self.first = entry
        if self.last is not None and (entry.seq != self.last.seq + 1 or entry.previous != self.last.hash):
            yield _between(self.last, entry)
        self.last = entry.link
        if entry.link == self._through:
            self._through = None

    def end(self) -> Iterator[str]:
        """Say that there are no more lines; what should have been there."""
        if not self.count:
            yield "there are no records"
        if self._through is not None:
            yield f"record {self._through.seq} with the hash {self._through.hash} is missing or another one"


def _between(last: Link, entry: Entry) -> str:
    if entry.seq == 1 and last == BEGINNING:
        return f"record 1 is not the first of a chain: it names {entry.previous}"
    if entry.seq == last.seq + 1:
        return f"record {entry.seq} does not follow this record {last.seq}: {last.seq} was changed or replaced"
    if entry.seq == 1 and entry.previous == BEGINNING.hash:
        return f"a new chain begins after record {last.seq}"
    if entry.seq <= last.seq:
        return f"record {entry.seq} stands after record {last.seq}: out of order, or there twice"
    if entry.seq == last.seq + 2:
        return f"record {last.seq + 1} is missing"
    return f"records {last.seq + 1} to {entry.seq - 1} are missing"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
