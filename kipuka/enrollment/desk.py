"""Everything that runs behind the labels, started and stopped as one, and exchanged when the configuration changes."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.logger import Logger

from kipuka import __version__
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.revocation import Revocation
from kipuka.enrollment.submission import Submitter
from kipuka.observe.audit.record import AuditEvent, Record
from kipuka.observe.audit.trail import Trail
from kipuka.store.store import StoreUnavailable

_log = Logger("kipuka.ledger")


class Loop(Protocol):
    """Something that goes on by itself: watching a CA, renewing a CRL."""

    def start(self) -> None:
        """Begin; the ledger is open."""

    async def stop(self) -> None:
        """End, after what must not be broken off."""


class Shift:
    """Who works at the desk under one configuration: for each CA who submits and who polls, who revokes, the loops."""

    def __init__(
        self, submitters: Sequence[Submitter], pollers: Sequence[Poller], loops: Sequence[Loop], revocation: Revocation
    ) -> None:
        self.submitters = submitters
        self.pollers = {each.ca_id: each for each in pollers}
        self.loops = loops
        self.revocation = revocation
        self._is_over = False

    def start(self) -> None:
        """Begin to watch and to poll."""
        for loop in (*self.loops, *self.pollers.values()):
            loop.start()

    async def relieve(self, other: Shift) -> None:
        """Take over from another. No CA is polled by two, and a slow CA does not keep the others waiting."""
        await _all(each.stop() for each in other.loops)
        for loop in self.loops:
            loop.start()
        await _all(self._take_over(ca_id, other.pollers.get(ca_id)) for ca_id in self.pollers | other.pollers)
        await other.close()

    def end(self) -> None:
        """Start nothing more."""
        self._is_over = True

    async def stop(self) -> None:
        """End what goes on by itself."""
        await _all(each.stop() for each in (*self.loops, *self.pollers.values()))

    async def close(self) -> None:
        """Close idle connections; a client that has waited since before this may still have one opened again."""
        for submitter in self.submitters:
            await submitter.authority.close()

    async def _take_over(self, ca_id: str, other: Poller | None) -> None:
        if other is not None:
            await _all([other.stop()])
        if ca_id in self.pollers and not self._is_over:
            self.pollers[ca_id].start(other)


class Desk:
    """The ledger and those who work with it.

    :param trail: the audit, which is written to the ledger's database.
    """

    def __init__(self, ledger: Ledger, shift: Shift, trail: Trail | None = None) -> None:
        self._ledger = ledger
        self._shift = shift
        self._trail = trail
        self._turn = DeferredLock()
        self._is_over = False
        # Requests that came before a change end as they began. Nobody else needs these.
        self._busy: WeakSet[Submitter | Revocation] = WeakSet()

    def start(self) -> None:
        """Begin to watch and to poll."""
        self._ledger.open()
        if self._trail is not None:
            self._trail.start()
            self._trail.note(Record(event=AuditEvent.STARTED, reason=f"kipuka {__version__}"))
        self._ledger.start()
        self._on_duty(self._shift)
        self._shift.start()
        self._strays = Deferred.fromCoroutine(self._name_strays())

    async def change(self, shift: Shift) -> None:
        """Go on with others. Requests in hand, and clients that wait, stay with those who have them."""
        self._on_duty(shift)  # requests reach it already
        await self._turn.acquire()
        try:
            if self._is_over:
                return
            before, self._shift = self._shift, shift
            await shift.relieve(before)
        finally:
            self._turn.release()
        await self._name_strays()

    def let_go(self) -> None:
        """Have every waiting client answered now; it may come back to this process's successor or another node."""
        self._ledger.let_go()
        self._is_over = True
        self._shift.end()

    async def close(self) -> None:
        """Wait for what is at the CAs, write it down, and close everything."""
        await self._turn.acquire()
        await _all(each.settled() for each in list(self._busy))
        await self._shift.stop()
        if self._trail is not None:
            self._trail.note(Record(event=AuditEvent.STOPPED))
            await self._trail.close()
        await self._ledger.stop()
        await self._shift.close()

    def _on_duty(self, shift: Shift) -> None:
        self._busy.update([*shift.submitters, shift.revocation])

    async def _name_strays(self) -> None:
        """Say of which CAs the ledger has rows that nobody looks after, for they are not configured any more."""
        try:
            waiting = await self._ledger.run(lambda: self._ledger.store.at_cas())
        except StoreUnavailable:
            return  # the loops say so
        for ca_id in sorted(waiting.keys() - self._shift.pollers.keys()):
            _log.warn(
                'the ledger has {number} requests at CA "{ca}", which is not configured: nobody asks after them; put '
                "its [[ca]] back, or see kipuka enrollments list --ca and abandon them",
                number=waiting[ca_id],
                ca=ca_id,
            )


async def _all(work: Iterable[Coroutine[Deferred[Any], Any, None]]) -> None:
    """Do all of it; what fails does not keep the others from being done."""
    for done, result in await DeferredList(map(Deferred.fromCoroutine, work), consumeErrors=True):
        if not done:
            _log.failure("what was to be ended or exchanged failed", failure=result)
