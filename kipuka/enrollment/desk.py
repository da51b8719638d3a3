"""Everything that runs behind the labels, started and stopped as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, gatherResults
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
    """Something that goes on by itself: polling a CA, watching one, renewing a CRL."""

    def start(self) -> None:
        """Begin; the ledger is open."""

    async def stop(self) -> None:
        """End, after what must not be broken off."""


class Desk:
    """The ledger, for each CA who submits, who revokes, and what goes on by itself.

    :param trail: the audit, which is written to the ledger's database.
    """

    def __init__(
        self,
        ledger: Ledger,
        submitters: Sequence[Submitter],
        loops: Sequence[Loop],
        revocation: Revocation,
        trail: Trail | None = None,
    ) -> None:
        self._ledger = ledger
        self._submitters = submitters
        self._loops = loops
        self._revocation = revocation
        self._trail = trail

    def start(self) -> None:
        """Begin to watch and to poll."""
        self._ledger.open()
        if self._trail is not None:
            self._trail.start()
            self._trail.note(Record(event=AuditEvent.STARTED, reason=f"kipuka {__version__}"))
        self._ledger.start()
        for loop in self._loops:
            loop.start()
        self._strays = Deferred.fromCoroutine(self._name_strays())

    def let_go(self) -> None:
        """Have every waiting client answered now; it may come back to this process's successor or another node."""
        self._ledger.let_go()

    async def _name_strays(self) -> None:
        """Say of which CAs the ledger has rows that nobody looks after, for they are not configured any more."""
        try:
            waiting = await self._ledger.run(lambda: self._ledger.store.at_cas())
        except StoreUnavailable:
            return  # the loops say so
        for ca_id in sorted(waiting.keys() - {each.ca_id for each in self._loops if isinstance(each, Poller)}):
            _log.warn(
                'the ledger has {number} requests at CA "{ca}", which is not configured: nobody asks after them; put '
                "its [[ca]] back, or see kipuka enrollments list --ca and abandon them",
                number=waiting[ca_id],
                ca=ca_id,
            )

    async def close(self) -> None:
        """Wait for what is at the CAs, write it down, and close everything."""
        await gatherResults([Deferred.fromCoroutine(each.settled()) for each in self._submitters])
        await self._revocation.settled()
        await gatherResults([Deferred.fromCoroutine(each.stop()) for each in self._loops])
        if self._trail is not None:
            self._trail.note(Record(event=AuditEvent.STOPPED))
            await self._trail.close()
        await self._ledger.stop()
        for submitter in self._submitters:
            await submitter.authority.close()
