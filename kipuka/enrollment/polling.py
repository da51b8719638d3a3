"""Asking a CA what became of the requests it has, in bulk, by one process at a time.

Each round of a CA costs one "what is still pending?" call whatever the number of waiting requests, and one call for
each request that is pending no more. Those whose answer was lost are looked up beside the rounds: a look-up may take
long, and who waits for an approval does not wait for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kipuka.authority.interface import Authority, Issued, Pending, Progress, Refused, TracksRequests, Undecided
from kipuka.enrollment.ledger.application import carries_key
from kipuka.enrollment.ledger.ledger import DEAD, Ledger, loop
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.reconciliation import Reconciliation
from kipuka.enrollment.submission import granted, refused
from kipuka.errors import AuthorityError
from kipuka.store.rows import Enrollment, State
from kipuka.store.store import StoreUnavailable

_log = Logger("kipuka.polling")

PARALLEL = 4
"""Requests asked after one by one at the same time."""
_LONGEST_BACKOFF = 60.0
_LEASE_ROUNDS = 3
_SHORTEST_LEASE = 10.0


class Poller:
    """Keeps one CA's rows of the ledger up to date.

    :param interval: seconds from the end of a round to the next; longer, with jitter, while the CA is away.
    :param settle: seconds over which look-ups must find nothing before absence is believed.
    :param jitter: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        clock: IReactorTime,
        interval: float,
        settle: float,
        jitter: Callable[[], float],
    ) -> None:
        self._authority = authority
        self._ledger = ledger
        self._clock = clock
        self._interval = interval
        self._jitter = jitter
        self.reconciliation = Reconciliation(authority, ledger, timedelta(seconds=settle), timedelta(seconds=interval))
        self._slots = DeferredSemaphore(PARALLEL)
        self._last_asked = 0
        self._answers = False
        """Whether the CA gave its list in the last round."""
        self._failed_rounds = self._failed_look_ups = 0
        self._running = self._is_over = False
        self._next: IDelayedCall | None = None
        self._round: Deferred[None] | None = None
        self._look_ups: Deferred[None] | None = None
        """At most one task at a time."""

    @property
    def ca_id(self) -> str:
        """The CA whose rows are looked after."""
        return self._authority.id

    @property
    def _lease(self) -> str:
        return f"poll {self._authority.id}"

    @property
    def _lease_seconds(self) -> float:
        return max(_SHORTEST_LEASE, self._interval * _LEASE_ROUNDS)

    def start(self, after: Poller | None = None) -> None:
        """Begin with a round at once: there may be rows from before a restart.

        :param after: who polled this CA before, in this process.
        """
        if after is not None:
            self.reconciliation.inherit(after.reconciliation)
        self._running = True
        self._begin()

    async def stop(self) -> None:
        """End after the requests that are being asked after and let another process take over at once."""
        self._running, self._is_over = False, True
        self.reconciliation.stop()
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._round is not None:
            await self._round
        if self._look_ups is not None:
            await self._look_ups
        try:
            await self._ledger.run(lambda: self._ledger.store.release(self._lease, self._ledger.process))
        except StoreUnavailable:
            _log.debug("lease {lease} is left to run out", lease=self._lease)

    def _begin(self) -> None:
        self._round = Deferred.fromCoroutine(self._guarded())

    async def _guarded(self) -> None:
        """One round; nothing that happens in it ends the polling."""
        try:
            await self.round()
            self._failed_rounds = 0
        except (AuthorityError, StoreUnavailable) as trouble:
            self._failed_rounds += 1
            _log.info("CA {ca}: {trouble}", ca=self._authority.id, trouble=str(trouble))
        except Exception:
            self._failed_rounds += 1
            _log.failure("CA {ca}: a round of polling failed", ca=self._authority.id)
        if self._running:
            self._next = self._clock.callLater(self._pause(), self._begin)

    def _pause(self) -> float:
        failures = max(self._failed_rounds, self._failed_look_ups)
        if not failures:
            return self._interval
        longest = max(_LONGEST_BACKOFF, self._interval)
        pause = min(longest, self._interval * 2 ** min(failures - 1, 10))
        return float(pause * (0.5 + self._jitter() / 2))

    async def round(self) -> None:
        """Look after the rows of this CA, unless another process does. Look-ups may go on when this returns.

        :raises AuthorityError: the CA cannot say; nothing was changed that it did not say.
        :raises StoreUnavailable: neither can the store.
        """
        await self._look_after_own()
        if await self._renew():
            await self._under_lease(self._look_after())
        else:
            self._failed_look_ups = 0  # they are another's now, who may die soon

    async def _under_lease(self, work: Awaitable[None]) -> None:
        """Keep the lease while something is done, however long it takes."""
        renewing = loop(self._keep, self._clock)
        stopped = renewing.start(self._lease_seconds / _LEASE_ROUNDS, now=False)
        try:
            await work
        finally:
            renewing.stop()
            await stopped

    async def _renew(self) -> bool:
        ledger, now = self._ledger, self._ledger.now()
        return await ledger.run(lambda: ledger.store.lease(self._lease, ledger.process, now, self._lease_seconds))

    async def _keep(self) -> None:
        """Keep the lease a while longer, or another process would begin a round, or look-ups, of its own."""
        if not await self._renew():
            _log.warn("another process polls CA {ca} too: this one stood still for a while", ca=self._authority.id)

    async def _look_after(self) -> None:
        ledger, now = self._ledger, self._ledger.now()
        for orphan in await ledger.run(lambda: ledger.store.orphans(now - DEAD)):
            if orphan.application.ca_id == self._authority.id:
                await ledger.happen(Event.LOST, orphan, absent_since=None)
        open_rows = await ledger.run(lambda: ledger.store.in_states(self._authority.id, (State.PENDING, State.UNKNOWN)))
        pending = [row for row in open_rows if row.state is State.PENDING]
        unknown = [row for row in open_rows if row.state is State.UNKNOWN]
        trouble = None
        if pending:
            try:
                await self._follow(pending)
            except AuthorityError as error:
                trouble = error
        else:
            self.reconciliation.without_witness()
        self._answers = bool(pending) and trouble is None
        if self._answers or not unknown:
            self._failed_look_ups = 0
        if unknown and self._look_ups is None:
            self._look_ups = Deferred.fromCoroutine(
                self._look_up(unknown, frozenset(row.request_id or "" for row in pending))
            )
            self._look_ups.addBoth(self._looked_up)
        if trouble is not None:
            raise trouble

    async def _look_up(self, rows: list[Enrollment], known: frozenset[str]) -> None:
        """Look lost requests up, once; nothing that happens here ends the polling."""
        failed = True
        try:
            await self._under_lease(self.reconciliation.round(rows, known))
            failed = False
        except (AuthorityError, StoreUnavailable) as trouble:
            log = _log.warn if self._answers else _log.info
            log("CA {ca}: {trouble}", ca=self._authority.id, trouble=str(trouble))
        except Exception:
            _log.failure("CA {ca}: looking lost requests up failed", ca=self._authority.id)
        # A CA that answers what is pending is no reason to go slow.
        self._failed_look_ups = self._failed_look_ups + 1 if failed and not self._answers else 0

    def _looked_up(self, _: object) -> None:
        self._look_ups = None

    async def _look_after_own(self) -> None:
        """Give up rows that were taken in this process's name and that nobody in it works on.

        So it is when the store took the row and could not say so: no other process will ever take this one for dead.
        """
        ledger = self._ledger
        for row in await ledger.run(lambda: ledger.store.in_states(self._authority.id, (State.SUBMITTING,))):
            if row.process == ledger.process and row.id not in ledger.in_hand:
                await ledger.happen(Event.LOST, row, absent_since=None)

    async def _follow(self, rows: list[Enrollment]) -> None:
        if not isinstance(self._authority, TracksRequests):
            return
        answer = await self._authority.still_pending(len(rows))
        asked = [row for row in rows if row.request_id not in answer.ids]
        if not answer.complete and asked:
            # What is missing from a list cut short may be pending all the same. Ask after a few, all in turn.
            asked = sorted(asked, key=lambda row: (row.id <= self._last_asked, row.id))[: PARALLEL * 4]
            self._last_asked = asked[-1].id
        results = await DeferredList([self._slots.run(self._ask_after, row) for row in asked], consumeErrors=True)
        lacking = unsure = 0
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()
            lacking += isinstance(result, Pending)
            unsure += result is None
        if not answer.complete or (unsure and not lacking):
            self.reconciliation.without_witness()
            return
        self.reconciliation.judge(len(answer.ids), lacking=lacking > 0)
        if lacking:
            _log.warn(
                "CA {ca}: its list of pending requests lacks {lacking} that are pending by its own word. Lost requests "
                "that are not found stay unknown until it is whole: raise the limits of the CA's directory (for "
                "Dogtag size, time and look-through limit of its LDAP bind user), see docs/troubleshooting.md",
                ca=self._authority.id,
                lacking=lacking,
            )

    def _ask_after(self, row: Enrollment) -> Deferred[Progress | None]:
        return Deferred.fromCoroutine(self._progress(row))

    async def _progress(self, row: Enrollment) -> Progress | None:
        """Ask how a request stands, and write its end down; None when nobody could say."""
        if self._is_over or not isinstance(self._authority, TracksRequests):
            return None
        try:
            progress = await self._authority.progress(row.request_id or "")
        except AuthorityError as trouble:
            _log.info("enrollment {id}: {trouble}", id=row.id, trouble=str(trouble))
            return None
        if isinstance(progress, Issued):
            if carries_key(progress.certificate, row.application):
                await self._ledger.happen(Event.GRANTED, row, **granted(progress))
            else:
                _log.error("enrollment {id}: request {request} is for another key", id=row.id, request=row.request_id)
        elif isinstance(progress, Refused):
            await self._ledger.happen(Event.REFUSED, row, **refused(progress))
        elif isinstance(progress, Undecided):
            _log.debug("enrollment {id}: {why}", id=row.id, why=progress.why)
        return progress
