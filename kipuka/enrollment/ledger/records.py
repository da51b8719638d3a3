"""The ledger for people: its rows by page, the certificates in it, and ending a row that is stuck."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TypedDict, TypeVar, Unpack

from kipuka.enrollment.audit import NOWHERE
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import ENDED, Event
from kipuka.errors import Kind, RequestError
from kipuka.observe.audit.record import Origin
from kipuka.store.rows import Enrollment, State
from kipuka.store.store import StoreUnavailable

__all__ = ["Enrollment", "Filters", "Records", "State"]

T = TypeVar("T")

_SAME_SERIAL = 100
"""Rows that are looked at for one serial number: no two certificates of a CA have the same."""


class Filters(TypedDict, total=False):
    """Which rows; see :meth:`kipuka.store.store.Store.page`."""

    states: Collection[State] | None
    ca_id: str | None
    label: str | None
    caller: str | None
    subject: str | None
    serial: str | None
    since: datetime | None


class Records:
    """Reads the ledger that the enrollments of this process are in; the store must be open.

    All methods raise RequestError BUSY when the database cannot be asked.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(
        self, *, before: int | None, limit: int, certified: bool = False, **filters: Unpack[Filters]
    ) -> list[Enrollment]:
        """Rows, newest first.

        :param before: the id of the last row of the page before this one.
        :param certified: only those for which there is a certificate.
        """
        return await self._ask(
            lambda: self._ledger.store.page(before=before, limit=limit, certified=certified, **filters)
        )

    async def enrollment(self, number: int) -> Enrollment:
        """The row of this number.

        :raises RequestError: NOT_FOUND.
        """
        row = await self._ask(lambda: self._ledger.store.get(number))
        if row is None:
            raise RequestError(Kind.NOT_FOUND, f"There is no enrollment {number}: look for it in the list.")
        return row

    async def certified(self, serial: int, ca_id: str | None) -> Enrollment:
        """The row of the certificate with this serial number.

        :param ca_id: of this CA; None: of whichever CA, if it is only one.
        :raises RequestError: NOT_FOUND; CONFLICT when several CAs have used the number.
        """
        rows = await self.page(before=None, limit=_SAME_SERIAL, certified=True, serial=f"0x{serial:x}", ca_id=ca_id)
        if not rows:
            raise RequestError(
                Kind.NOT_FOUND, f"The ledger knows no certificate with the serial number 0x{serial:x}: ask its CA."
            )
        cas = sorted({row.application.ca_id for row in rows})
        if len(cas) > 1:
            raise RequestError(
                Kind.CONFLICT, f"Several CAs have used the serial number 0x{serial:x} ({', '.join(cas)}): add ca_id."
            )
        return rows[0]

    async def abandon(self, number: int, origin: Origin = NOWHERE) -> Enrollment:
        """End a row: the same request asked again is a new enrollment.

        What the CA has of it stays there: a pending request should be rejected, a certificate revoked.

        :param origin: of the administrator's request, for the audit.
        :raises RequestError: NOT_FOUND; CONFLICT when it is over, or changes at this very moment.
        """
        row = await self.enrollment(number)
        if row.state is State.CLOSED:
            raise RequestError(Kind.CONFLICT, f"Enrollment {number} is over: there is nothing to end.")
        try:
            ended = await self._ledger.happen(Event.ABANDONED, row, origin, reason=ENDED)
        except StoreUnavailable as trouble:
            raise _unavailable(trouble) from trouble
        if ended is None:
            raise RequestError(Kind.CONFLICT, f"Enrollment {number} changes at this moment: look at it again.")
        return ended

    async def _ask(self, work: Callable[[], T]) -> T:
        try:
            return await self._ledger.run(work)
        except StoreUnavailable as trouble:
            raise _unavailable(trouble) from trouble


def _unavailable(trouble: StoreUnavailable) -> RequestError:
    return RequestError(Kind.BUSY, "The ledger cannot be asked at the moment: try again later.", str(trouble))
