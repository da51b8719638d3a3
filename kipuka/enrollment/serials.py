"""Serial numbers as people write them. Pure."""

from __future__ import annotations

import re

from kipuka.errors import Kind, RequestError

_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,64})")
_PAIRS = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{2}){1,31}")
_DECIMAL = re.compile(r"dec:([0-9]{1,77})")
_LARGEST = 2**160


def parse_serial(text: str) -> int:
    """Read a serial number: hexadecimal with or without ``0x`` or with colons, or decimal after ``dec:``.

    What is only digits is hexadecimal too, as openssl, browsers and Dogtag print it.

    :raises RequestError: MALFORMED: nothing of the kind, zero, or more than 20 bytes (RFC 5280 §4.1.2.2).
    """
    text = text.strip()
    if found := _DECIMAL.fullmatch(text):
        serial = int(found[1])
    elif found := _HEX.fullmatch(text):
        serial = int(found[1], 16)
    elif _PAIRS.fullmatch(text):
        serial = int(text.replace(":", ""), 16)
    else:
        raise RequestError(
            Kind.MALFORMED,
            'The serial number cannot be read: write it in hexadecimal ("0x1A2B", "1a2b", "1A:2B") '
            'or in decimal as "dec:6699".',
        )
    if not 0 < serial < _LARGEST:
        raise RequestError(
            Kind.MALFORMED, "The serial number is zero or has more than 20 bytes: no certificate has such a number."
        )
    return serial
