"""What the file CA writes down, in words of its own: whoever assembles kipuka gives it a book to write in."""

# ruff: noqa: D102 - the class says what its members are

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Entry(Protocol):
    """One certificate. ``reason`` is the number of RFC 5280 §5.3.1; None, as is ``revoked``, while it is good."""

    @property
    def serial(self) -> int: ...
    @property
    def subject(self) -> str: ...
    @property
    def revoked(self) -> datetime | None: ...
    @property
    def reason(self) -> int | None: ...


class Crl(Protocol):
    """A CRL and its number."""

    @property
    def number(self) -> int: ...
    @property
    def der(self) -> bytes: ...


Sign = Callable[[int, Sequence[Entry]], bytes]
"""Makes the DER of a CRL out of its number and what is on it."""


class Book(Protocol):
    """The certificates and the CRL of each CA. Blocking; each call has happened as a whole when it returns.

    A CA is named by its key (:func:`kipuka.authority.local.signing.key_hash`): it is the same CA under another id.
    """

    def add(self, ca_key: str, serial: int, subject: str, not_after: datetime) -> None:
        """Write down what is about to be handed out."""

    def find(self, ca_key: str, serials: Collection[int]) -> Sequence[Entry]:
        """Look numbers up; of those that are not there nothing is returned."""

    def mark(
        self, ca_key: str, serial: int, before: int | None, reason: int | None, now: datetime, sign: Sign | None
    ) -> bool:
        """Change the reason and put a CRL that says so in place, unless the reason is another than before."""

    def publish(self, ca_key: str, now: datetime, sign: Sign, last: datetime | None = None) -> None:
        """Put a new CRL in place, and forget what had expired long before the last one was issued, if it is told."""

    def crl_number(self, ca_key: str) -> int:
        """Return the number of the newest CRL."""

    def crl(self, ca_key: str) -> Crl | None:
        """Return the newest CRL."""


class InBook(Protocol):
    """Does something with the book where it may block."""

    def __call__(self, work: Callable[[Book], T], /) -> Awaitable[T]:
        """Return what the work returns.

        :raises AuthorityError: UNREACHABLE, when the book cannot be had now.
        """
