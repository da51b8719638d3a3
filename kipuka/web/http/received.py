"""Header fields of a request as text."""

from __future__ import annotations

from twisted.web.http import Request


def field(request: Request, name: str) -> str | None:
    """A field's last value, None when there is none.

    Octets are characters of Latin-1, which every value can be read as (RFC 9110 §5.5): asked for text, Twisted reads
    UTF-8 and fails on what is none.
    """
    value = request.getHeader(name.encode("ascii"))
    return None if value is None else value.decode("latin-1")
