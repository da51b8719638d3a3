"""Patterns for names: regular expressions of the administrator's, with placeholders for what is known of the caller."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection

from cryptography import x509
from cryptography.x509.oid import NameOID

from kipuka.access.identity import Caller

LONGEST = 1024
"""Characters of a name that is looked at; a longer one matches nothing. The time that a pattern takes can grow with a
power of the length, and nothing else is done meanwhile."""

PLACEHOLDERS = ("{user}", "{cn}")
_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))
_NEVER = "(?!)"


class Pattern:
    """A regular expression for a whole name.

    ``{user}`` and ``{cn}`` stand for the HTTP user's name and for the common name of the client certificate, literally;
    a caller without one matches nothing there.

    :param placeholders: those that it may hold.
    :raises ValueError: it is no regular expression, or would be none for some callers; the text is for the operator.
    """

    def __init__(self, text: str, placeholders: Collection[str] = PLACEHOLDERS) -> None:
        self._text = text
        for found in re.findall(r"\{[A-Za-z_]+\}", text):
            if found not in placeholders:
                raise ValueError(f"unknown placeholder {found}; there are {' and '.join(placeholders) or 'none here'}")
        try:
            self._try()
        except RecursionError:
            raise ValueError("this is not a regular expression: its groups are nested too deeply") from None
        except (OverflowError, ValueError):
            raise ValueError("this is not a regular expression: a number in it is too large") from None
        except (re.error, FutureWarning) as error:
            reason = error.msg if isinstance(error, re.error) else f"{error}; write \\[ for a bracket"
            raise ValueError(f"this is not a regular expression: {reason}") from None

    def matches(self, name: str, caller: Caller) -> bool:
        """Whether this is a name that such a caller may have.

        :raises RequestError: when the subject of the caller's certificate cannot be read.
        """
        user, common_name = caller.user, caller.common_name
        filled = self._filled(lambda found: _literal(user if found[0] == "{user}" else common_name))
        return len(name) <= LONGEST and re.fullmatch(filled, name) is not None

    def _try(self) -> None:
        """Compile it as it is for callers without a name, and with names of different lengths."""
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Possible", FutureWarning)  # what re says of a bracket that may change
            re.compile(self._filled(lambda _: _NEVER))
            re.compile(self._filled(lambda found: "(?:x)" if found[0] == "{user}" else "(?:xy)"))
            groups = re.compile(self._filled(lambda _: "()")).groups
            without = re.compile(self._filled(lambda _: "(?:)")).groups
        # In a set, or in a comment, a placeholder would be characters.
        if groups - without != len(_PLACEHOLDER.findall(self._text)):
            raise re.error("a placeholder has no meaning within [...]")

    def _filled(self, value: Callable[[re.Match[str]], str]) -> str:
        return _PLACEHOLDER.sub(value, self._text)


def _literal(value: str | None) -> str:
    """Make a regular expression for one attribute value as it stands in RFC 4514 text."""
    if not value:
        return _NEVER
    # Any attribute type without a limit of length does: only the library's escaping is wanted.
    _, _, escaped = x509.NameAttribute(NameOID.DN_QUALIFIER, value).rfc4514_string().partition("=")
    return f"(?:{re.escape(escaped)})"
