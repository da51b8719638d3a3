"""Everything that runs behind the labels, started and stopped as one."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults

from kipuka.authority.interface import Starts
from kipuka.enrollment.ledger import Ledger
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.revocation import Revocation
from kipuka.enrollment.submission import Submitter


class Desk:
    """The ledger, for each CA who submits and who polls, and who revokes."""

    def __init__(
        self, ledger: Ledger, submitters: Sequence[Submitter], pollers: Sequence[Poller], revocation: Revocation
    ) -> None:
        self._revocation = revocation
        self._ledger = ledger
        self._submitters = submitters
        self._pollers = pollers

    def start(self) -> None:
        """Begin to watch and to poll."""
        self._ledger.open()
        self._ledger.start()
        for submitter in self._submitters:
            if isinstance(submitter.authority, Starts):
                submitter.authority.start()
        for poller in self._pollers:
            poller.start()

    def let_go(self) -> None:
        """Have every waiting client answered now; it may come back to this process's successor or another node."""
        self._ledger.let_go()

    async def close(self) -> None:
        """Wait for what is at the CAs, write it down, and close everything."""
        await gatherResults([Deferred.fromCoroutine(each.settled()) for each in self._submitters])
        await gatherResults([Deferred.fromCoroutine(each.stop()) for each in self._pollers])
        await self._revocation.settled()
        for submitter in self._submitters:
            await submitter.authority.close()
        await self._ledger.stop()
