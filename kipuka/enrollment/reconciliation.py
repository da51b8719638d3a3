"""Finding out what became of requests whose answer was lost, before anything is sent again.

The public key is looked up at the CA. What is found is taken over. That nothing is found proves nothing while the CA
may still be working on the request: absence is believed when look-ups that succeeded, over a settling time, have
found nothing, and the submission itself is older than that time. Only time in which somebody looked counts: a machine
that stood still, or a clock that was put forward, proves nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from twisted.logger import Logger

from kipuka.authority.interface import Absent, Authority, FindsRequests, HasClones, InProgress, Issued, Pending, Refused
from kipuka.enrollment.application import carries_key
from kipuka.enrollment.ledger import Ledger
from kipuka.enrollment.states import Event
from kipuka.enrollment.submission import granted, refused
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import Enrollment, State

_log = Logger("kipuka.reconciliation")

_BEFORE = timedelta(minutes=5)
"""The clocks of CA and kipuka may differ by so much."""
STUCK = 2
"""A request that stays unfinished for so many settling times will never be finished."""

_AWAY = {Kind.UNREACHABLE, Kind.NO_ANSWER}
"""After two of these in a row the other rows need not be tried either."""
_NOTHING_LEARNT = {Kind.UNREACHABLE, Kind.BUSY}
"""After these the time since the last look-up does not count; after all others the CA was in trouble, and whatever it
has in hand may go on when that is over."""


class Reconciliation:
    """Decides the UNKNOWN rows of one CA.

    :param settle: how long nothing must be found; longer than any request takes at the CA.
    :param interval: how often rows are looked up.
    """

    def __init__(self, authority: Authority, ledger: Ledger, settle: timedelta, interval: timedelta) -> None:
        self._authority = authority
        # A clone's records hold what the CA's do: what other rows have got from any of them is not this row's.
        self._instances = authority.instances if isinstance(authority, HasClones) else frozenset({authority.id})
        self._ledger = ledger
        self._settle = settle
        self._stumbled = 0
        self._counted = max(settle / 2, 2 * interval)  # at most, between two look-ups

    async def round(self, rows: list[Enrollment], known: frozenset[str]) -> None:
        """Look each row up once. One that cannot be looked up does not keep the others from it.

        :param known: the CA's numbers of pending requests that belong to other rows; what else belongs to others with
            the same key, such as the certificate that is being renewed, is looked up here.
        :raises AuthorityError: the CA cannot be asked now.
        """
        if not isinstance(self._authority, FindsRequests):
            return
        rows = sorted(rows, key=lambda row: row.id == self._stumbled)  # what ended the last round comes last
        away = 0
        for row in rows:
            try:
                await self._look_up(self._authority, row, known)
                away = 0
            except AuthorityError as trouble:
                await self._count_not(row, all_of_it=trouble.kind not in _NOTHING_LEARNT)
                away = away + 1 if trouble.kind in _AWAY else 0
                if away == min(2, len(rows)):
                    self._stumbled = row.id
                    raise
                _log.info("enrollment {id} cannot be looked up: {trouble}", id=row.id, trouble=str(trouble))

    async def _look_up(self, authority: FindsRequests, row: Enrollment, known: frozenset[str]) -> None:
        ledger, wanted = self._ledger, row.application
        others = await self._others(row)
        if others is None:
            return
        begun = ledger.now()
        since = (row.submitted or row.created) - _BEFORE
        found = await authority.find(wanted.public_key, wanted.subject, since, known | others)
        match found:
            case Issued() if not carries_key(found.certificate, wanted):
                _log.error("enrollment {id}: what was found is for another key", id=row.id)
            case Issued():
                if await self._is_free(granted(found)["serial"], row):
                    await ledger.happen(Event.GRANTED, row, **granted(found))
            case Pending():
                if await self._is_free(found.request_id, row):
                    await ledger.happen(Event.DEFERRED, row, request_id=found.request_id, reason=None)
            case Refused():
                await ledger.happen(Event.REFUSED, row, **refused(found))
            case Absent() | InProgress():
                await self._absent(row, begun, self._settle * (STUCK if isinstance(found, InProgress) else 1))

    async def _others(self, row: Enrollment) -> frozenset[str] | None:
        """The numbers of requests and certificates that other rows have for this row's key.

        None while one of them is on its way: what is found might be the answer that it is about to get.
        """
        ledger, wanted = self._ledger, row.application
        rows = await ledger.run(lambda: ledger.store.of_key(self._instances, wanted.public_key))
        others = [each for each in rows if each.id != row.id]
        if any(each.state is State.SUBMITTING for each in others):
            return None
        return frozenset(number for each in others for number in (each.request_id, each.serial) if number is not None)

    async def _is_free(self, number: str, row: Enrollment) -> bool:
        """Whether what was found is still nobody's: another row may have been submitted during the look-up."""
        others = await self._others(row)
        return others is not None and number not in others

    async def _absent(self, row: Enrollment, begun: datetime, settle: timedelta) -> None:
        """Note that a look-up, begun at this time, found nothing; believe it if that has been so for long enough."""
        if row.absent_since is None:
            await self._ledger.annotate(row, absent_since=self._ledger.now())
            return
        unseen = begun - row.updated - self._counted
        since = row.absent_since + max(unseen, timedelta(0))
        if begun - since >= settle and begun - (row.submitted or row.created) >= settle:
            _log.info("enrollment {id}: the CA does not have it, it may be submitted again", id=row.id)
            await self._ledger.happen(Event.ABSENT, row, absent_since=None)
        else:
            await self._ledger.annotate(row, absent_since=since)

    async def _count_not(self, row: Enrollment, *, all_of_it: bool) -> None:
        """Note that a look-up failed: what went before it, or the time since the last one, proves nothing."""
        if row.absent_since is not None:
            unseen = self._ledger.now() - row.updated
            await self._ledger.annotate(row, absent_since=None if all_of_it else row.absent_since + unseen)
