"""CA certificates kept in the ledger's database, for the CAs that are reached over a network."""

from __future__ import annotations

from twisted.logger import Logger

from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.store.errors import StoreUnavailable

_log = Logger("kipuka.ledger")


class KeptChains:
    """A :class:`kipuka.authority.dogtag.Keeper`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def load(self, ca_id: str) -> str | None:
        """Return what was saved last for this CA, if there is anything to be had."""
        try:
            return await self._ledger.run(lambda: self._ledger.store.chains.kept(ca_id))
        except StoreUnavailable as trouble:
            _log.warn("the kept chain of {ca} cannot be read: {trouble}", ca=ca_id, trouble=trouble)
            return None

    async def save(self, ca_id: str, chain: str) -> None:
        """Save a chain in the place of the last one."""
        now = self._ledger.now()
        try:
            await self._ledger.run(lambda: self._ledger.store.chains.keep(ca_id, chain, now))
        except StoreUnavailable as trouble:
            _log.warn("the chain of {ca} cannot be kept: {trouble}", ca=ca_id, trouble=trouble)
