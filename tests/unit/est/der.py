"""A strict DER reader: minimal definite lengths, sorted SETs, nothing left over. It shares no code with kipuka."""

from __future__ import annotations

from dataclasses import dataclass

SEQUENCE, SET, OID, INTEGER = 0x30, 0x31, 0x06, 0x02


@dataclass(frozen=True)
class Element:
    """One element: its first octet, its content, and for a constructed one its parts."""

    tag: int
    content: bytes
    parts: tuple[Element, ...]
    encoded: bytes

    @property
    def oid(self) -> str:
        assert self.tag == OID
        arcs, value = [], 0
        for octet in self.content:
            value = value << 7 | octet & 0x7F
            if not octet & 0x80:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def read(encoded: bytes) -> Element:
    """Read exactly one element.

    :raises AssertionError: when it is not DER.
    """
    element, rest = _next(encoded)
    assert rest == b"", "bytes left over"
    return element


def write(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _next(encoded: bytes) -> tuple[Element, bytes]:
    assert len(encoded) >= 2, "cut off"
    tag, length, start = encoded[0], encoded[1], 2
    assert tag & 0x1F != 0x1F, "long tags do not occur here"
    if length & 0x80:
        octets = length & 0x7F
        assert octets, "indefinite length"
        length, start = int.from_bytes(encoded[2 : 2 + octets], "big"), 2 + octets
        assert length >= 0x80, "length not minimal"
        assert encoded[2] != 0, "length not minimal"
    content = encoded[start : start + length]
    assert len(content) == length, "cut off"
    parts = []
    if tag & 0x20:
        rest = content
        while rest:
            part, rest = _next(rest)
            parts.append(part)
        if tag == SET:
            encodings = [part.encoded for part in parts]
            assert encodings == sorted(encodings), "SET not sorted"
    return Element(tag, content, tuple(parts), encoded[: start + length]), encoded[start + length :]
