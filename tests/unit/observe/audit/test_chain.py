"""What is done to a chain is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.observe.audit.chain import BEGINNING, Broken, Link, Walk, read, seal
from tests.unit.observe.audit.records import chain, faults, record

LINES = chain(8)
TEXT = "".join(f"{line}\n" for line in LINES)


def resealed(lines: list[str], number: int) -> list[str]:
    """Changed by somebody who knows how hashes are made, at one place."""
    entry = read(lines[number])
    forged, _ = seal(record(4711), Link(entry.seq - 1, entry.previous))
    return [*lines[:number], forged, *lines[number + 1 :]]


def test_a_whole_chain() -> None:
    walk = Walk()
    assert [fault for line in LINES for fault in walk.step(line)] == []
    assert walk.last == read(LINES[-1]).link
    assert walk.last.seq == walk.count == 8
    assert faults(LINES[3:]) == []  # what was before is in an older file


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([*LINES[:2], *LINES[3:]], ["record 3 is missing"]),
        ([*LINES[:2], *LINES[6:]], ["records 3 to 6 are missing"]),
        (
            [*LINES[:2], LINES[3], LINES[2], *LINES[4:]],
            [
                "record 3 is missing",
                "record 3 stands after record 4: out of order, or there twice",
                "record 4 is missing",
            ],
        ),
        ([*LINES[:2], LINES[1], *LINES[2:]], ["record 2 stands after record 2: out of order, or there twice"]),
        (resealed(LINES, 2), ["record 4 does not follow this record 3: 3 was changed or replaced"]),
        ([*LINES[:2], LINES[2].replace("device-2", "device-9"), *LINES[3:]], ["record 3 was changed"]),
        ([*LINES[:2], "", *LINES[2:]], ["is no record of an audit"]),
        ([*LINES[:2], *chain(2)], ["a new chain begins after record 2"]),
    ],
)
def test_what_was_done_is_said(lines: list[str], expected: list[str]) -> None:
    assert faults(lines) == expected


@pytest.mark.parametrize(
    ("after", "lines", "expected"),
    [
        (BEGINNING, LINES, []),
        (BEGINNING, LINES[2:], ["records 1 to 2 are missing"]),
        (BEGINNING, chain(1, Link(0, "1" * 64)), [f"record 1 is not the first of a chain: it names {'1' * 64}"]),
        (read(LINES[1]).link, LINES[2:], []),
        (read(LINES[1]).link, LINES[3:], ["record 3 is missing"]),
        (Link(2, "1" * 64), LINES[2:], ["record 3 does not follow this record 2: 2 was changed or replaced"]),
    ],
)
def test_where_it_has_to_begin(after: Link, lines: list[str], expected: list[str]) -> None:
    walk = Walk(after)
    assert [fault for line in lines for fault in walk.step(line)] == expected
    assert list(walk.end()) == []


def test_where_it_has_to_lead() -> None:
    def missing(lines: list[str], through: Link) -> list[str]:
        walk = Walk(through=through)
        assert [fault for line in lines for fault in walk.step(line)] == []
        return list(walk.end())

    last = read(LINES[-1]).link
    assert missing(LINES, last) == missing(LINES, read(LINES[4]).link) == []
    assert missing(LINES[:-1], last) == [f"record 8 with the hash {last.hash} is missing or another one"]
    assert len(missing(LINES, Link(8, "1" * 64))) == 1
    assert missing([], last)[0] == "there are no records"


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_any_changed_byte_is_found(place: int, byte: int) -> None:
    data = bytearray(TEXT.encode())
    before, data[place] = data[place], byte
    lines = data.decode("ascii", "replace").split("\n")
    found = faults(lines[:-1]) or lines[-1]
    assert bool(found) == (before != byte)


@given(st.data())
def test_any_part_removed_from_the_middle_is_found(data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(TEXT) - 2))
    last = data.draw(st.integers(first + 1, len(TEXT) - 1))
    lines = (TEXT[:first] + TEXT[last:]).split("\n")
    assert faults(lines[:-1]) or lines[-1]


@given(st.text())
def test_anything_else_is_no_record(line: str) -> None:
    with pytest.raises(Broken):
        read(line)


@given(st.binary(max_size=200))
def test_nor_is_a_line_with_anything_in_it(inside: bytes) -> None:
    middle = inside.decode("latin-1")
    with pytest.raises(Broken):
        read(f'{{"seq": {middle}, "hash": "{"0" * 64}"}}')


def test_deep_json_is_no_record() -> None:
    with pytest.raises(Broken):
        read('{"seq": ' + "[" * 100_000 + ', "hash": "' + "0" * 64 + '"}')
