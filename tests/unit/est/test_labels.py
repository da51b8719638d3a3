from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.errors import Kind, RequestError
from kipuka.est import labels


def test_uri_01_the_six_operations() -> None:
    assert set(labels.OPERATIONS) == {
        "cacerts",
        "simpleenroll",
        "simplereenroll",
        "fullcmc",
        "serverkeygen",
        "csrattrs",
    }


@pytest.mark.parametrize("name", sorted(labels.OPERATIONS))
def test_uri_06_a_label_is_not_called_like_an_operation(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        labels.check_label_name(name)


@pytest.mark.parametrize("name", ["devices", "a", "lab-1_x.y", "~me", "cacerts2", "..."])
def test_uri_04_label_names(name: str) -> None:
    labels.check_label_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "a%2Fb", "a?b", "a#b", "a\nb", "a\x00", "\x7f", "Geräte", "a b", "a\n", "x" * 65],
)
def test_uri_08_illegal_label_names(name: str) -> None:
    with pytest.raises(ValueError, match="a label is made of"):
        labels.check_label_name(name)


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        (b"lab", "lab"),
        (b"l%61b", "lab"),
        (b"L%61b", "Lab"),
        (b"Ger%C3%A4te", "Geräte"),
        (b"a+b", "a+b"),
        (b"%63acerts", "cacerts"),
    ],
)
def test_uri_08_segments_are_percent_decoded_once(segment: bytes, name: str) -> None:
    assert labels.decode_segment(segment) == name


@pytest.mark.parametrize(
    "segment",
    [
        *(b"", b".", b"..", b"%2e%2e", b".%2E", b"%252e%252e"),
        *(b"a%2Fb", b"a%2fb", b"a%5Cb", b"a?b", b"x" * 129),
        *(b"a%00b", b"a%0Ab", b"a%7F", b"%C2%85"),
        *(b"%ff", b"\xff", b"%c0%af", b"%ED%A0%80"),
        *(b"%", b"a%2", b"%zz"),
    ],
)
def test_uri_08_dangerous_segments_are_not_found(segment: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        labels.decode_segment(segment)
    assert caught.value.kind is Kind.NOT_FOUND


@given(st.binary(max_size=20) | st.text("%2eF0a./\\", max_size=12).map(str.encode))
def test_uri_08_any_segment_is_a_clean_name_or_not_found(segment: bytes) -> None:
    try:
        name = labels.decode_segment(segment)
    except RequestError as error:
        assert error.kind is Kind.NOT_FOUND
    else:
        assert name.isprintable()
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\%")


@given(st.text(min_size=1, max_size=40))
def test_uri_04_every_legal_label_can_be_asked_for(name: str) -> None:
    try:
        labels.check_label_name(name)
    except ValueError:
        return
    assert labels.decode_segment(quote(name, safe="").encode()) == name
