"""Path segments under ``/.well-known/est``: operations, and the labels beside them (RFC 7030 §3.2.2)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from kipuka.errors import Kind, RequestError

OPERATIONS = frozenset({"cacerts", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen", "csrattrs"})
"""The six operations; no label may be called so."""

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]{1,64}")  # RFC 3986 §2.3
_LONGEST = 128
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DELIMITERS = frozenset("/\\?#%")


def check_label_name(name: str) -> None:
    """Check that a configured label can stand in a URL as it is, and is not taken for an operation (RFC 7030 §3.2.2).

    :raises ValueError: with a sentence for the administrator.
    """
    if name in OPERATIONS:
        raise ValueError(f'"{name}" is an operation of EST and cannot be the name of a label (RFC 7030 section 3.2.2)')
    if name in {".", ".."} or not _UNRESERVED.fullmatch(name):
        raise ValueError("a label is made of letters, digits and - _ . ~ (at most 64), and is not just . or ..")


def decode_segment(segment: bytes) -> str:
    """Percent-decode one path segment as it stood in the request line (RFC 3986 §2.1), once.

    :raises RequestError: NOT_FOUND for what no name here can be: empty, ``.`` or ``..``, an escaped slash, control
        characters, bytes that are not UTF-8, a broken escape. The text names no existing label.
    """
    if _BROKEN_ESCAPE.search(segment):
        raise _nothing_here("a broken percent-encoding")
    try:
        name = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise _nothing_here("a path segment that is not UTF-8") from None
    fault = _fault(name)
    if fault:
        raise _nothing_here(f"a path segment {fault}")
    return name


def _nothing_here(cause: str) -> RequestError:
    return RequestError(Kind.NOT_FOUND, "There is nothing at this path: check the URL.", cause)


def _fault(name: str) -> str | None:
    """Say what keeps a name from being a path segment, to follow "a label name ..."."""
    if not name:
        return "cannot be empty"
    if name in (".", ".."):
        return "cannot be '.' or '..'"
    if len(name) > _LONGEST:
        return f"has at most {_LONGEST} characters"
    if not name.isprintable():
        return "cannot hold control or invisible characters"
    if not _DELIMITERS.isdisjoint(name):
        return "cannot hold any of / \\ ? # %"
    return None
