from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.errors import Kind, RequestError
from kipuka.est.channel_binding import TlsBinding, verify

FINISHED = bytes(range(12))
EXPORTED = bytes(range(32))
TLS_12 = TlsBinding("TLSv1.2", FINISHED, None)
TLS_13 = TlsBinding("TLSv1.3", None, EXPORTED)
BOTH = TlsBinding("TLSv1.2", FINISHED, EXPORTED)


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def refusal(password: str | None, binding: TlsBinding, kind: Kind, *, required: bool = False) -> str:
    with pytest.raises(RequestError) as caught:
        verify(password, binding, required)
    assert caught.value.kind is kind
    return caught.value.text


@pytest.mark.parametrize("required", [False, True])
def test_pop_04_tls_unique_on_tls_1_2(required: bool) -> None:
    assert len(text(FINISHED)) == 16
    verify(text(FINISHED), TLS_12, required)


@pytest.mark.parametrize("required", [False, True])
def test_pop_06_exporter_on_tls_1_3(required: bool) -> None:
    assert len(text(EXPORTED)) == 44
    verify(text(EXPORTED), TLS_13, required)


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("binding", [TLS_12, TLS_13])
def test_pop_02_another_value_is_refused_even_if_none_is_required(binding: TlsBinding, required: bool) -> None:
    for wrong in (bytes(12), bytes(32), FINISHED[:-1] + b"\xff", EXPORTED + b"\0", FINISHED[:11]):
        refusal(text(wrong), binding, Kind.FORBIDDEN, required=required)


def test_pop_02_absent_and_not_required() -> None:
    verify(None, TLS_12, False)
    verify(None, TlsBinding("", None, None), False)


@pytest.mark.parametrize(("binding", "name"), [(TLS_12, "tls-unique"), (TLS_13, "tls-exporter")])
def test_pop_03_absent_and_required(binding: TlsBinding, name: str) -> None:
    said = refusal(None, binding, Kind.FORBIDDEN, required=True)
    assert "linked" in said
    assert name in said


def test_pop_06_a_finished_message_of_tls_1_3_is_refused() -> None:
    said = refusal(text(bytes(48)), TlsBinding("TLSv1.3", bytes(48), EXPORTED), Kind.FORBIDDEN)
    assert "tls-exporter" in said


def test_pop_07_the_exporter_does_not_count_on_tls_1_2() -> None:
    refusal(text(EXPORTED), BOTH, Kind.FORBIDDEN)
    verify(text(FINISHED), BOTH, True)


@pytest.mark.parametrize(
    "binding", [TlsBinding("", None, None), TlsBinding("TLSv1.2", b"", b"x"), TlsBinding("TLSv1.3", b"x", None)]
)
def test_pop_02_nothing_to_compare_with_is_never_a_match(binding: TlsBinding) -> None:
    for password in ("", text(b"x")):
        assert "no TLS channel binding" in refusal(password, binding, Kind.FORBIDDEN)


@pytest.mark.parametrize("password", ["secret!", "AAEC AwQF", text(FINISHED) + "\n", "QUI", "QUJD=", "pässword"])
def test_pop_10_an_enrolment_secret_is_not_taken_for_a_binding(password: str) -> None:
    said = refusal(password, TLS_12, Kind.MALFORMED)
    assert "not base64" in said
    assert password not in said


def test_trap_t21_the_text_names_the_middlebox() -> None:
    assert "middlebox" in refusal(text(bytes(12)), TLS_12, Kind.FORBIDDEN)


def test_bindings_are_not_shown() -> None:
    assert repr(FINISHED) not in repr(BOTH)
    assert repr(EXPORTED) not in repr(BOTH)


@given(st.text(max_size=60) | st.binary(max_size=40).map(text), st.sampled_from([TLS_12, TLS_13]))
def test_pop_09_only_the_value_itself_is_accepted(password: str, binding: TlsBinding) -> None:
    try:
        verify(password, binding, False)
    except RequestError as error:
        assert error.kind in (Kind.MALFORMED, Kind.FORBIDDEN)
    else:
        assert base64.b64decode(password) == binding.value
