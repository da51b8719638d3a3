"""What the admin API needs of the rest of kipuka; the assembly plugs it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypedDict, Unpack

from cryptography import x509


class AuditFilters(TypedDict, total=False):
    """Which records: those that fit all that is given.

    :param who: a part of the caller's name, in upper or lower case.
    :param since: at or after this time.
    :param until: before this time.
    """

    event: str | None
    ca_id: str | None
    label: str | None
    who: str | None
    since: datetime | None
    until: datetime | None


class AuditPages(Protocol):
    """The audit, for reading."""

    @property
    def events(self) -> Sequence[str]:
        """The names of all events."""

    async def page(
        self, *, before: int | None, limit: int, **filters: Unpack[AuditFilters]
    ) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """Records, newest first, each with its number.

        :param before: the number of the last record of the page before this one.
        :raises RequestError: BUSY, when the database cannot be asked.
        """


class Revocation(Protocol):
    """Withdrawing certificates."""

    @property
    def reasons(self) -> Sequence[str]:
        """The names of the reasons."""

    async def revoke(self, serial: int, reason: str, ca_id: str | None, by: str) -> Mapping[str, Any]:
        """Withdraw a certificate, put it on hold or release it.

        :param by: who asks, for the log.
        :return: what came of it, as it is to be shown; ``ca_id`` and ``outcome`` are among it.
        :raises RequestError: NOT_FOUND, CONFLICT.
        :raises AuthorityError: the CA refused, or is in trouble.
        """


@dataclass(frozen=True)
class Standing:
    """How a certificate stands.

    :param status: one of :data:`STATUSES`.
    :param revoked: since when it is revoked or on hold; None while it is not.
    :param reason: why, by its name.
    """

    status: str
    revoked: datetime | None = None
    reason: str | None = None


STATUSES: Final = ("good", "revoked", "unknown")
UNKNOWN: Final = Standing("unknown")


class Standings(Protocol):
    """How certificates stand by kipuka's own records."""

    async def of(self, certificates: Sequence[x509.Certificate]) -> Sequence[Standing]:
        """Tell of each. No CA is asked over a network.

        :raises RequestError: BUSY, when the database cannot be asked.
        """


class Authorities(Protocol):
    """The CAs of the configuration, for reading."""

    def describe(self) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        """CAs and groups, each as it is to be shown."""
