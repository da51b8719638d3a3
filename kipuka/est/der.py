"""The little DER that the libraries do not do: elements as closed bytes, taken apart and put together."""

from __future__ import annotations

from pyasn1.codec.der import decoder
from pyasn1.type import univ

OCTET_STRING, SEQUENCE, SET = 0x04, 0x30, 0x31
CONTEXT_0, CONTEXT_1 = 0xA0, 0xA1
"""First octets of elements; the last two are the constructed context-specific tags [0] and [1]."""


def first(data: bytes) -> tuple[bytes, bytes]:
    """Split off the first element, whatever it is; the second value is the rest.

    :raises ValueError: when there is none, or it is cut off or not DER.
    """
    try:
        element, rest = decoder.decode(data, asn1Spec=univ.Any())
    except Exception as error:  # PyAsn1Error, RecursionError (pyasn1 0.6.1) and more
        # Not pyasn1's own words, which hold whole schemas.
        raise ValueError(f"not DER: {type(error).__name__}") from None
    return bytes(element), rest


def parts(element: bytes, tag: int, at_most: int) -> list[bytes]:
    """Return the elements inside a constructed one; time and memory are bounded by ``at_most``.

    :raises ValueError: when it has another tag or more parts, or is not DER.
    """
    if not element or element[0] != tag:
        raise ValueError("another element than expected")
    found: list[bytes] = []
    rest = content(element)
    while rest:
        if len(found) == at_most:
            raise ValueError(f"more than {at_most} elements")
        part, rest = first(rest)
        found.append(part)
    return found


def content(element: bytes) -> bytes:
    """Return what is inside an element that came from a decoder, so that its length is right; tags have one octet."""
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def wrap(tag: int, *contents: bytes) -> bytes:
    """Put contents into a new element."""
    joined = b"".join(contents)
    length = len(joined)
    if length < 0x80:
        return bytes((tag, length)) + joined
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + joined
