from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.errors import Kind, RequestError
from kipuka.est import media

DER = bytes.fromhex("3082010a") + bytes(range(256)) + b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"
TEXT = base64.b64encode(DER)


def refusal(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        media.decode_base64(body)
    assert caught.value.kind is Kind.MALFORMED
    return caught.value


@pytest.mark.parametrize(
    "header",
    ["application/pkcs10", "Application/PKCS10; charset=us-ascii", "application/pkcs10;x", " application/pkcs10 "],
)
def test_enc_11_media_type_without_case_and_parameters(header: str) -> None:
    media.check_media_type(header, media.PKCS10)


@pytest.mark.parametrize(
    "header", [None, "", "text/plain", "application/pkcs10, text/plain", "pkcs10", "application/pkcs101"]
)
def test_enc_11_other_media_types_are_refused_and_the_right_one_named(header: str | None) -> None:
    with pytest.raises(RequestError, match=r"application/pkcs10\b") as caught:
        media.check_media_type(header, media.PKCS10)
    assert caught.value.kind is Kind.UNSUPPORTED_TYPE


def test_enc_12_constants_are_byte_exact() -> None:
    assert media.PKCS7 == "application/pkcs7-mime"
    assert media.CERTS_ONLY == "application/pkcs7-mime; smime-type=certs-only"
    assert media.CSR_ATTRIBUTES == "application/csrattrs"


def test_enc_01_raw_der_is_told_to_be_base64() -> None:
    assert "base64 expected" in refusal(DER).text
    assert "base64 expected" in refusal(b"\x30\x06\x02\x01\x05\x02\x01\x07").text


@pytest.mark.parametrize(
    "body",
    [
        TEXT,
        base64.encodebytes(TEXT and DER),
        b"\r\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)) + b"\r\n",
        b"\n".join(TEXT[i : i + 1] for i in range(len(TEXT))),
        b" \t\r\n" + TEXT + b"\n\n\n\n",
    ],
    ids=["one line", "64 or 76 LF", "76 CRLF", "one character a line", "blanks around"],
)
def test_enc_03_white_space_is_tolerated_anywhere(body: bytes) -> None:
    assert media.decode_base64(body) == DER


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\n" + TEXT + b"\n-----END CERTIFICATE REQUEST-----\n",
            "remove the BEGIN and END",
        ),
        (b"\n -----BEGIN NEW CERTIFICATE REQUEST-----\n" + TEXT, "remove the BEGIN and END"),
        (b"\xef\xbb\xbf" + TEXT, "byte order mark"),
        (b"\xff\xfe" + TEXT.decode().encode("utf-16-le"), "byte order mark"),
        (TEXT[:8] + b"\0" + TEXT[8:], "NUL"),
        (TEXT[:-4] + b"-_-_", "URL-safe"),
        (TEXT + b"&x=%20", "not base64"),
        (TEXT[:8] + "é".encode() + TEXT[8:], "not base64"),
        (TEXT[:8] + b"\x0b" + TEXT[8:], "not base64"),
        (b"", "empty"),
        (b" \r\n", "empty"),
    ],
)
def test_enc_04_each_mistake_has_its_own_sentence(body: bytes, words: str) -> None:
    assert words in refusal(body).text


@pytest.mark.parametrize(
    "body", [b"QUI", b"QUI=QUI=", b"QQ=Q", b"=", b"====", b"QUJD=", b"Q", b"QQ==QQ==", b"QUJDRA", b"=QUJ"]
)
def test_enc_05_bad_padding_is_refused(body: bytes) -> None:
    assert "padded" in refusal(body).text


@pytest.mark.parametrize("size", [0, 1, 46, 47, 48, 49, 57, 96, 1000])
@pytest.mark.parametrize("wrap", [None, 64, 76])
def test_enc_09_exactly_one_line_feed_at_the_end(size: int, wrap: int | None) -> None:
    body = media.encode_base64(b"x" * size, wrap)
    lines = body.split(b"\n")
    assert lines.pop() == b""
    assert b"\r" not in body
    assert base64.b64decode(b"".join(lines), validate=True) == b"x" * size
    if wrap is None:
        assert len(lines) == 1
    elif size:
        assert {len(line) for line in lines[:-1]} <= {wrap}
        assert 0 < len(lines[-1]) <= wrap


def test_enc_09_a_width_must_be_a_multiple_of_four() -> None:
    for width in (0, -4, 3, 65):
        with pytest.raises(ValueError, match="multiple of 4"):
            media.encode_base64(b"x", width)


@pytest.mark.parametrize(
    ("field_names", "configured", "wrap"),
    [
        ([b"Host"], "auto", None),
        ([b"Host", b"Authorization", b"Content-Type", b"Content-Length"], "auto", None),
        ([b"HOST", b"content-type"], "auto", None),
        ([b"Host", b"User-Agent"], "auto", 64),
        ([b"Host", b"Accept"], "auto", 64),
        ([b"Connection", b"Host"], "auto", 64),
        ([b"Host", b"User-Agent"], "none", None),
        ([b"Host"], 64, 64),
        ([b"Host"], 76, 76),
    ],
)
def test_trap_t02_t10_line_length_by_client_or_by_label(
    field_names: list[bytes], configured: str | int, wrap: int | None
) -> None:
    assert media.wrap_for(field_names, configured) == wrap


@given(st.binary(min_size=1), st.sampled_from([None, 64, 76]), st.data())
def test_enc_03_round_trip_with_white_space_anywhere(der: bytes, wrap: int | None, data: st.DataObject) -> None:
    text = bytearray(media.encode_base64(der, wrap))
    for _ in range(data.draw(st.integers(0, 8))):
        position = data.draw(st.integers(0, len(text)))
        text[position:position] = data.draw(st.text("\r\n \t", min_size=1, max_size=3)).encode()
    assert media.decode_base64(bytes(text)) == der


@given(st.binary(max_size=200) | st.text("ABCDabcd0189+/=-_ \r\n\t", max_size=200).map(str.encode))
def test_enc_04_any_bytes_decode_or_are_refused(body: bytes) -> None:
    try:
        decoded = media.decode_base64(body)
    except RequestError as error:
        assert error.kind is Kind.MALFORMED
        assert error.text.endswith(".")
    else:
        assert len(decoded) == len(body.translate(None, b"\r\n \t")) // 4 * 3 - body.count(b"=")
