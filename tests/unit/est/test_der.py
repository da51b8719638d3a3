from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.est import der
from tests.unit.est import der as strict


@given(st.binary(max_size=70000))
def test_wrap_is_der_and_content_takes_it_off(content: bytes) -> None:
    element = der.wrap(der.OCTET_STRING, content)
    assert element == strict.write(0x04, content)
    assert der.content(element) == content
    assert der.first(element + b"rest") == (element, b"rest")


def test_parts_are_the_elements_inside() -> None:
    inner = [der.wrap(der.OCTET_STRING, bytes([number])) for number in range(4)]
    element = der.wrap(der.SET, *inner)
    assert der.parts(element, der.SET, at_most=4) == inner
    with pytest.raises(ValueError, match="more than 3"):
        der.parts(element, der.SET, at_most=3)
    with pytest.raises(ValueError, match="another element"):
        der.parts(element, der.SEQUENCE, at_most=4)
    with pytest.raises(ValueError, match="another element"):
        der.parts(b"", der.SEQUENCE, at_most=4)


@pytest.mark.parametrize(
    "data", [b"", b"\x04", b"\x04\x05abc", b"\x30\x80\0\0", b"\x04\x84\xff\xff\xff\xff", b"\x24\x80" * 2000]
)
def test_broken_elements_are_a_value_error_without_the_librarys_words(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not DER: \w+$"):
        der.first(data)


@given(st.binary(max_size=100))
def test_any_bytes_split_or_are_a_value_error(data: bytes) -> None:
    try:
        element, rest = der.first(data)
    except ValueError:
        return
    assert element + rest == data
    assert element
