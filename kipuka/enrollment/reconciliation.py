"""Finding out what became of requests whose answer was lost, before anything is sent again.

The public key is looked up at the CA. What is found is taken over. That nothing is found proves nothing while the CA
may still be working on the request: absence is believed when look-ups that succeeded, over a settling time, have
found nothing, and the submission itself is older than that time. Only time in which somebody looked counts: a machine
that stood still, or a clock that was put forward, proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from kipuka.authority.interface import (
    Absent,
    Authority,
    FindsRequests,
    HasClones,
    InProgress,
    Issued,
    Pending,
    Refused,
    TracksRequests,
    Undecided,
)
from kipuka.enrollment.ledger.application import carries_key
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.submission import granted, refused
from kipuka.errors import AuthorityError, Kind
from kipuka.store.rows import Enrollment, State

_log = Logger("kipuka.reconciliation")

_BEFORE = timedelta(minutes=5)
"""The clocks of CA and kipuka may differ by so much."""
STUCK = 2
"""A request that stays unfinished for so many settling times will never be finished."""

PARALLEL = 4
"""Rows looked up at the same time."""
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
        self._lists_are_short = False
        """Whether the CA's lists lack requests now: what is in none is not absent then."""
        self._cut: int | None = None
        """How long a list was that lacked some. One of that length may be cut there again, when nothing tells."""
        self._is_over = False
        self._stumbled: set[int] = set()
        self._taking_over = DeferredLock()
        self._counted = max(settle / 2, 2 * interval)  # at most, between two look-ups

    def inherit(self, other: Reconciliation) -> None:
        """Take over what another has learnt of this CA's lists."""
        self._cut = other._cut

    def judge(self, length: int, *, lacking: bool) -> None:
        """Take note of a list of the CA's pending requests.

        :param lacking: whether it lacks some that are pending by the CA's own word.
        """
        self._lists_are_short = lacking
        if lacking:
            self._cut = length or None  # nothing is cut at 0
        elif self._cut is not None and length > self._cut:
            self._cut = None

    def without_witness(self) -> None:
        """Take note that there is no pending request by which a list could be judged."""
        self._lists_are_short = False

    def stop(self) -> None:
        """Begin no more look-ups."""
        self._is_over = True

    async def round(self, rows: list[Enrollment], known: frozenset[str]) -> None:
        """Look each row up once, a few at a time. One that cannot be looked up does not keep the others from it.

        :param known: the CA's numbers of pending requests that belong to other rows; what else belongs to others with
            the same key, such as the certificate that is being renewed, is looked up here.
        :raises AuthorityError: the CA cannot be asked now.
        """
        if not isinstance(self._authority, FindsRequests):
            return
        known |= await self._taken(rows)
        tour = _Tour(sorted(rows, key=lambda row: row.id in self._stumbled))  # what ended the last round comes last
        parts = [Deferred.fromCoroutine(self._walk(self._authority, tour, known)) for _ in range(PARALLEL)]
        for _, result in await DeferredList(parts, consumeErrors=True):
            if isinstance(result, Failure):
                result.raiseException()
        self._stumbled = tour.stumbled if tour.over else set()
        if tour.doubted and not self._lists_are_short:  # which is told already
            _log.warn(
                "CA {ca}: {doubted} lost requests are not found, and stay unknown: its lists are as long as one that "
                "was cut short, at {cut}. Raise the limits of the CA's directory, see docs/troubleshooting.md",
                ca=self._authority.id,
                doubted=tour.doubted,
                cut=self._cut,
            )
        if tour.over is not None:
            raise tour.over

    async def _taken(self, rows: list[Enrollment]) -> frozenset[str]:
        """The certificates that are known to be others', so that a new process need not read them all at the CA."""
        since = min(map(_since, rows))
        return await self._ledger.run(lambda: self._ledger.store.serials(self._instances, since))

    async def _walk(self, authority: FindsRequests, tour: _Tour, known: frozenset[str]) -> None:
        """Look up row after row, beside others who do, while the CA is there."""
        for row in tour.rows:
            if self._is_over:
                return
            try:
                doubted = await self._look_up(authority, row, known)
            except AuthorityError as trouble:
                await self._count_not(row, all_of_it=trouble.kind not in _NOTHING_LEARNT)
                _log.info("enrollment {id} cannot be looked up: {trouble}", id=row.id, trouble=str(trouble))
                tour.failed(row, trouble)
            else:
                tour.doubted += doubted  # only now: others count meanwhile
                tour.succeeded()
            if tour.over is not None:
                return

    async def _look_up(self, authority: FindsRequests, row: Enrollment, known: frozenset[str]) -> bool:
        """Look one row up; True when what was found is not believed."""
        ledger, wanted = self._ledger, row.application
        others = await self._others(row)
        if others is None:
            return False
        begun = ledger.now()
        since = _since(row)
        found = await authority.find(wanted.public_key, wanted.subject, since, known | _numbers(others))
        match found:
            case Issued() if not carries_key(found.certificate, wanted):
                _log.error("enrollment {id}: what was found is for another key", id=row.id)
            case Issued():
                if await self._is_meant(found, row, others):
                    changes = granted(found)
                    await self._take_over(changes["serial"], Event.GRANTED, row, unfinished=None, **changes)
            case Pending():
                await self._take_over(
                    found.request_id, Event.DEFERRED, row, request_id=found.request_id, reason=None, unfinished=None
                )
            case Refused():
                await ledger.happen(Event.REFUSED, row, unfinished=None, **refused(found))
            case Absent() | InProgress() if self._may_be_short(found.longest_list):
                await self._count_not(row, all_of_it=False)
                return True
            case Absent() | InProgress():
                await self._absent(row, begun, found)
        return False

    def _may_be_short(self, longest_list: int) -> bool:
        # One that is longer shows that this is not where lists are cut now.
        return self._lists_are_short or longest_list == self._cut

    async def _others(self, row: Enrollment) -> list[Enrollment] | None:
        """The other rows of this row's key.

        None while one of them is on its way: what is found might be the answer that it is about to get.
        """
        ledger, wanted = self._ledger, row.application
        rows = await ledger.run(lambda: ledger.store.of_key(self._instances, wanted.public_key))
        others = [each for each in rows if each.id != row.id]
        return None if any(each.state is State.SUBMITTING for each in others) else others

    async def _is_meant(self, found: Issued, row: Enrollment, others: list[Enrollment]) -> bool:
        """Whether a certificate that no row of the key has is this row's, as far as anything tells.

        It is not when another was lost too and asked for the very subject that this one did not ask for; or when it
        was issued a moment ago for a request that waited, and nobody has asked after that since.
        """
        subject = found.certificate.subject.rfc4514_string()
        for other in others:
            if other.state is State.UNKNOWN and row.application.subject != subject == other.application.subject:
                return False
            if other.state is State.PENDING and isinstance(self._authority, TracksRequests):
                progress = await self._authority.progress(other.request_id or "")
                if isinstance(progress, Undecided) or (isinstance(progress, Issued) and progress == found):
                    return False
        return True

    async def _take_over(self, number: str, event: Event, row: Enrollment, **changes: Any) -> None:
        """Give what was found to the row if it is still nobody's, one row after the other.

        Another row may have been submitted, or have found the same, during the look-up.
        """
        await self._taking_over.acquire()
        try:
            others = await self._others(row)
            if others is not None and number not in _numbers(others):
                await self._ledger.happen(event, row, **changes)
        finally:
            self._taking_over.release()

    async def _absent(self, row: Enrollment, begun: datetime, found: Absent | InProgress) -> None:
        """Note that a look-up, begun at this time, found no result; believe it if that has been so for long enough.

        A request that was in progress and now is not has gone on, or was overlooked: that starts the time anew. Its
        number stays with the row, for the next process, and for the operator.
        """
        unfinished = found.request_id if isinstance(found, InProgress) else None
        if row.absent_since is None or (row.unfinished is not None and unfinished is None):
            await self._ledger.annotate(row, absent_since=self._ledger.now(), unfinished=unfinished)
            return
        settle = self._settle * (1 if unfinished is None else STUCK)
        unseen = begun - row.updated - self._counted
        since = row.absent_since + max(unseen, timedelta(0))
        if begun - since >= settle and begun - (row.submitted or row.created) >= settle:
            _log.info("enrollment {id}: the CA does not have it, it may be submitted again", id=row.id)
            await self._ledger.happen(Event.ABSENT, row, absent_since=None, unfinished=None)
        else:
            await self._ledger.annotate(row, absent_since=since, unfinished=unfinished)

    async def _count_not(self, row: Enrollment, *, all_of_it: bool) -> None:
        """Note that a look-up said nothing: what went before it, or the time since the last one, proves nothing."""
        if row.absent_since is not None:
            unseen = self._ledger.now() - row.updated
            await self._ledger.annotate(row, absent_since=None if all_of_it else row.absent_since + unseen)


def _since(row: Enrollment) -> datetime:
    """Since when its certificate may have been issued; whole minutes, so that those of one time share a search."""
    return ((row.submitted or row.created) - _BEFORE).replace(second=0, microsecond=0)


def _numbers(rows: Sequence[Enrollment]) -> frozenset[str]:
    """The numbers of their requests and certificates."""
    return frozenset(number for each in rows for number in (each.request_id, each.serial) if number is not None)


class _Tour:
    """One round's way through the rows, however many walk it; it is over when the CA is away.

    :param over: the trouble that ended it.
    :param stumbled: the rows for which the CA was away.
    :param doubted: how many were not found, which is not believed.
    """

    def __init__(self, rows: Sequence[Enrollment]) -> None:
        self.rows = iter(rows)
        self.over: AuthorityError | None = None
        self.stumbled: set[int] = set()
        self.doubted = 0
        self._enough = min(2, len(rows))
        self._away = 0

    def failed(self, row: Enrollment, trouble: AuthorityError) -> None:
        """Note that a row could not be looked up."""
        if trouble.kind not in _AWAY:
            self._away = 0
            return
        self.stumbled.add(row.id)
        self._away += 1
        if self._away >= self._enough:
            self.over = trouble

    def succeeded(self) -> None:
        """Note that the CA is there."""
        self._away = 0
