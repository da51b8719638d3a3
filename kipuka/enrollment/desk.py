"""Everything that runs behind the labels, started and stopped as one."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults

from kipuka import __version__
from kipuka.enrollment.ledger import Ledger
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.submission import Submitter
from kipuka.observe.audit.record import AuditEvent, Record
from kipuka.observe.audit.trail import Trail


class Desk:
    """The ledger, and for each CA who submits and who polls.

    :param trail: the audit, which is written to the ledger's database.
    """

    def __init__(
        self,
        ledger: Ledger,
        submitters: Sequence[Submitter],
        pollers: Sequence[Poller],
        trail: Trail | None = None,
    ) -> None:
        self._ledger = ledger
        self._submitters = submitters
        self._pollers = pollers
        self._trail = trail

    def start(self) -> None:
        """Begin to watch and to poll."""
        self._ledger.open()
        if self._trail is not None:
            self._trail.start()
            self._trail.note(Record(event=AuditEvent.STARTED, reason=f"kipuka {__version__}"))
        self._ledger.start()
        for poller in self._pollers:
            poller.start()

    def let_go(self) -> None:
        """Have every waiting client answered now; it may come back to this process's successor or another node."""
        self._ledger.let_go()

    async def close(self) -> None:
        """Wait for what is at the CAs, write it down, and close everything."""
        await gatherResults([Deferred.fromCoroutine(each.settled()) for each in self._submitters])
        await gatherResults([Deferred.fromCoroutine(each.stop()) for each in self._pollers])
        if self._trail is not None:
            self._trail.note(Record(event=AuditEvent.STOPPED))
            await self._trail.close()
        await self._ledger.stop()
        for submitter in self._submitters:
            await submitter.authority.close()
