"""Finding out what became of requests whose answer was lost, before anything is sent again.

The public key is looked up at the CA. What is found is taken over. That nothing is found proves nothing while the CA
may still be working on the request: absence is believed when look-ups over a settling time, none of them failing, have
found nothing, and the submission itself is older than that time.
"""

from __future__ import annotations

from datetime import timedelta

from twisted.logger import Logger

from kipuka.authority.interface import Absent, Authority, FindsRequests, InProgress, Issued, Pending, Refused
from kipuka.enrollment.application import carries_key
from kipuka.enrollment.ledger import Ledger
from kipuka.enrollment.states import Event
from kipuka.enrollment.submission import granted
from kipuka.errors import AuthorityError
from kipuka.store.rows import Enrollment, State

_log = Logger("kipuka.reconciliation")

_BEFORE = timedelta(minutes=5)
"""The clocks of CA and kipuka may differ by so much."""
_STUCK = 2
"""A request that stays unfinished for so many settling times will never be finished."""


class Reconciliation:
    """Decides the UNKNOWN rows of one CA.

    :param settle: how long nothing must be found; longer than any request takes at the CA.
    """

    def __init__(self, authority: Authority, ledger: Ledger, settle: timedelta) -> None:
        self._authority = authority
        self._ledger = ledger
        self._settle = settle

    async def round(self, rows: list[Enrollment], known: frozenset[str]) -> None:
        """Look each row up once.

        :param known: the CA's numbers of pending requests that belong to other rows; what else belongs to others with
            the same key, such as the certificate that is being renewed, is looked up here.
        :raises AuthorityError: the CA cannot be asked now; the settling time begins anew.
        """
        if not isinstance(self._authority, FindsRequests):
            return
        for position, row in enumerate(rows):
            try:
                await self._look_up(self._authority, row, known)
            except AuthorityError:
                for unseen in rows[position:]:
                    await self._forget_absence(unseen)
                raise

    async def _look_up(self, authority: FindsRequests, row: Enrollment, known: frozenset[str]) -> None:
        ledger, wanted = self._ledger, row.application
        rows = await ledger.run(lambda: ledger.store.of_key(wanted.ca_id, wanted.public_key))
        others = [each for each in rows if each.id != row.id]
        if any(each.state is State.SUBMITTING for each in others):
            return  # what is found might be the answer that this other one is about to get
        known |= {number for each in others for number in (each.request_id, each.serial) if number is not None}
        submitted = row.submitted or row.created
        found = await authority.find(wanted.public_key, wanted.subject, submitted - _BEFORE, known)
        match found:
            case Issued() if not carries_key(found.certificate, wanted):
                _log.error("enrollment {id}: what was found is for another key", id=row.id)
            case Issued():
                await ledger.happen(Event.GRANTED, row, **granted(found))
            case Pending():
                await ledger.happen(Event.DEFERRED, row, request_id=found.request_id)
            case Refused():
                await ledger.happen(Event.REFUSED, row, reason=found.reason)
            case Absent() | InProgress():
                await self._absent(row, self._settle * (_STUCK if isinstance(found, InProgress) else 1))

    async def _absent(self, row: Enrollment, settle: timedelta) -> None:
        now = self._ledger.now()
        since = row.absent_since
        if since is None:
            await self._ledger.annotate(row, absent_since=now)
        elif now - since >= settle and now - (row.submitted or row.created) >= settle:
            _log.info("enrollment {id}: the CA does not have it, it may be submitted again", id=row.id)
            await self._ledger.happen(Event.ABSENT, row, absent_since=None)

    async def _forget_absence(self, row: Enrollment) -> None:
        if row.absent_since is not None:
            await self._ledger.annotate(row, absent_since=None)
