"""Media types and the base64 form of EST bodies (RFC 7030 §3.2.4, RFC 8951 §3)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from kipuka.errors import Kind, RequestError

# Byte for byte what clients compare with: one space after the semicolon, no quotes.
PKCS10 = "application/pkcs10"
PKCS7 = "application/pkcs7-mime"
CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"
CSR_ATTRIBUTES = "application/csrattrs"

LINE_WRAPS: dict[str | int, int | None] = {"none": None, 64: 64, 76: 76}
"""The values of ``line_wrap`` that fix a form, and the characters per line they mean; ``"auto"`` is the other value."""

_STRONGSWAN_FIELDS = frozenset({b"host", b"authorization", b"content-type", b"content-length"})
"""All that strongSwan's ``pki`` ever sends (5.9.8 and later)."""

_SPACE = b"\r\n \t"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_FOREIGN = re.compile(rb"[^A-Za-z0-9+/=]")
_SEQUENCE = 0x30


def check_media_type(header: str | None, expected: str) -> None:
    """Check a request's Content-Type: compared without case, parameters ignored.

    :param header: the field's value, None when there is none.
    :raises RequestError: UNSUPPORTED_TYPE, naming what is expected.
    """
    wanted = _essence(expected)
    if header is None:
        raise RequestError(Kind.UNSUPPORTED_TYPE, f"The request has no Content-Type: send {wanted}.")
    if _essence(header) != wanted:
        raise RequestError(Kind.UNSUPPORTED_TYPE, f"This operation takes bodies of Content-Type {wanted} only.")


def decode_base64(body: bytes) -> bytes:
    """Decode a request body: RFC 4648 §4 with padding; CR, LF, space and tab may stand anywhere (RFC 8951 §3.1).

    :raises RequestError: MALFORMED; each usual mistake has its own sentence.
    """
    text = body.translate(None, _SPACE)
    if not text:
        raise _malformed("The body is empty: send the request as base64 of its DER encoding.")
    if _FOREIGN.search(text):
        raise _malformed(_foreign(body, text))
    try:
        return decode_strict(text)
    except ValueError:
        raise _malformed(
            "The base64 text is incomplete or wrongly padded: without white space, its length is a multiple of four"
            " and '=' stands only at the end."
        ) from None


def decode_strict(text: bytes) -> bytes:
    """Decode base64 with nothing but its alphabet and its padding.

    The library's strict mode is not enough: it takes ``QUJD=``.

    :raises ValueError: for anything else.
    """
    if len(text) % 4 or not _BASE64.fullmatch(text):
        raise ValueError("not base64")
    return base64.b64decode(text)


def encode_base64(der: bytes, wrap: int | None) -> bytes:
    """Encode an answer's body; the last byte is LF, and there is exactly one at the end.

    :param wrap: characters per line; None for a single line.
    :raises ValueError: for a width that is no multiple of four.
    """
    text = base64.b64encode(der)
    if wrap is None:
        return text + b"\n"
    if wrap < 4 or wrap % 4:
        raise ValueError(f"a line of base64 holds a multiple of 4 characters, not {wrap}")
    return b"".join(text[start : start + wrap] + b"\n" for start in range(0, len(text), wrap)) or b"\n"


def wrap_for(field_names: Iterable[bytes], configured: str | int) -> int | None:
    """Choose the line length that this client can read; None is a single line.

    libest loses data when lines are longer than 1023 characters. Bouncy Castle leaves the last LF unread, and fails for
    it, when a single line has a multiple of 1024 characters. strongSwan fails on any LF inside the text; it is known by
    how little it sends. The label's ``line_wrap`` may fix one form.

    :param field_names: of the request's header, in any case.
    :param configured: ``"auto"`` or a key of :data:`LINE_WRAPS`.
    """
    if configured != "auto":
        return LINE_WRAPS[configured]
    return None if _STRONGSWAN_FIELDS.issuperset(name.lower() for name in field_names) else 64


def _essence(value: str) -> str:
    return value.partition(";")[0].strip(" \t").lower()


def _foreign(body: bytes, text: bytes) -> str:
    """Say which mistake brought characters into the body that base64 does not have."""
    if text.startswith(b"-----"):
        return "The body is PEM: remove the BEGIN and END lines and send only the base64 text between them."
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "The body starts with a byte order mark: send plain ASCII without one."
    if body[0] == _SEQUENCE and len(body) > 1 and (body[1] == len(body) - 2 or 0x80 <= body[1] <= 0x84):
        return "The body is binary DER, base64 expected: encode it with base64."
    if b"\0" in body:
        return "The body holds NUL bytes, base64 expected: send the base64 text in plain ASCII."
    foreign = set(_FOREIGN.findall(text))
    if foreign <= {b"-", b"_"}:
        return "The body uses the URL-safe alphabet ('-' and '_'): use the standard base64 alphabet ('+' and '/')."
    return "The body holds characters that are not base64: send base64 of the DER encoding and nothing else."


def _malformed(text: str) -> RequestError:
    return RequestError(Kind.MALFORMED, text)
