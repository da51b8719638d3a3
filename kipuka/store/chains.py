"""The CAs' certificates, kept for a start without the CAs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from kipuka.store.database.engine import Database
from kipuka.store.schema import ca_chains


class Chains:
    """One chain for each CA, PEM. Who reads one must not believe it: others may have written to the database.

    All methods block and raise :class:`~kipuka.store.errors.StoreUnavailable`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, ca_id: str, chain: str, now: datetime) -> None:
        """Write a chain in the place of the last one; one that is the same costs no write."""
        if self.kept(ca_id) == chain:
            return
        new = {"chain": chain, "fetched": now}
        keeping = self._database.insert(ca_chains).values(ca_id=ca_id, **new)
        with self._database.write() as connection:
            connection.execute(keeping.on_conflict_do_update(index_elements=[ca_chains.c.ca_id], set_=new))

    def kept(self, ca_id: str) -> str | None:
        """The chain that was kept last, if one was."""
        with self._database.read() as connection:
            return connection.execute(select(ca_chains.c.chain).where(ca_chains.c.ca_id == ca_id)).scalar()
