"""kipuka.enrollment.serials: serial numbers as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.enrollment.serials import parse_serial
from kipuka.errors import Kind, RequestError

SERIALS = st.integers(1, 2**160 - 1)


@given(SERIALS)
def test_every_way_to_write_one(serial: int) -> None:
    digits = f"{serial:x}"
    even = digits.zfill(len(digits) + len(digits) % 2)
    colons = ":".join(even[at : at + 2] for at in range(0, len(even), 2))
    ways = [digits, digits.upper(), f"0x{digits}", f"0X{digits.upper()}", f"00{digits}", f" {digits}\n", colons]
    assert {parse_serial(each) for each in [*ways, colons.upper(), f"dec:{serial}"]} == {serial}


def test_digits_alone_are_hexadecimal() -> None:
    assert parse_serial("6699") == 0x6699
    assert parse_serial("dec:6699") == 6699
    assert parse_serial("0x1A2B3C4D") == 0x1A2B3C4D


WRONG = "0x x1 -1 +1 1_0 1.5 0x1g 1:2: :1 1:234 dec: dec:0x1 dec:-1 dec:1f १२ 0x0x1"


@pytest.mark.parametrize("text", ["", "1 2", *WRONG.split()])
def test_what_is_none(text: str) -> None:
    with pytest.raises(RequestError, match="cannot be read") as caught:
        parse_serial(text)
    assert caught.value.kind is Kind.MALFORMED


@pytest.mark.parametrize("text", ["0", "0x00", "dec:0", "00:00", f"{2**160:x}", f"dec:{2**160}"])
def test_what_no_certificate_has(text: str) -> None:
    with pytest.raises(RequestError, match="zero or has more"):
        parse_serial(text)


@given(st.text(max_size=5000))
def test_any_text_is_a_number_or_an_error(text: str) -> None:
    with suppress(RequestError):
        assert 0 < parse_serial(text) < 2**160
