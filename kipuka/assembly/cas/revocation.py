"""Revocation of a configuration: who revokes for whom, the file CAs' books and CRLs, what administrators see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from cryptography import x509

from kipuka.assembly.cas.pools import Pools
from kipuka.authority.interface import Authority
from kipuka.authority.local import LocalAuthority
from kipuka.authority.local import revocation as local
from kipuka.authority.local.book import Book
from kipuka.authority.revoking import Reason, Revokes, Standing
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.revocation import Revocation
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.store.store import Store, StoreUnavailable
from kipuka.tls.server import ServerConnections
from kipuka.web.admin import backend
from kipuka.web.crl import Crl, Crls

T = TypeVar("T")


class InLedger:
    """A file CA's access to its book, in the ledger's threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, work: Callable[[Book], T], /) -> T:
        """Do something with the book.

        :raises AuthorityError: UNREACHABLE: the store cannot be used now.
        """
        try:
            return await self._ledger.run(lambda: work(self._ledger.store.certificates))
        except StoreUnavailable as trouble:
            raise AuthorityError(
                Kind.UNREACHABLE, "The CA cannot write down what it does at the moment: try again later.", str(trouble)
            ) from trouble


class Books:
    """What the books of the file CAs say of certificates (:class:`kipuka.web.admin.backend.Standings`)."""

    def __init__(self, cas: Iterable[Authority]) -> None:
        self._cas = [each for each in cas if isinstance(each, LocalAuthority)]

    async def of(self, certificates: Sequence[x509.Certificate]) -> list[backend.Standing]:
        """Tell how each stands; those that are in no book are unknown.

        :raises RequestError: BUSY: the store cannot be used now.
        """
        found: dict[x509.Certificate, Standing] = {}
        try:
            for ca in self._cas:
                found |= await ca.standings(certificates)
        except AuthorityError as trouble:
            text = "The ledger cannot be asked at the moment: try again later."
            raise RequestError(Kind.BUSY, text, trouble.cause) from trouble
        return [_shown(found[each]) if each in found else backend.UNKNOWN for each in certificates]


class Lists:
    """The CRLs of the file CAs."""

    def __init__(self, cas: Iterable[Authority]) -> None:
        self._cas = {each.id: each.revocation for each in cas if isinstance(each, LocalAuthority)}

    @property
    def loops(self) -> list[local.Revocation]:
        """What renews them, and looks for those of other nodes."""
        return list(self._cas.values())

    def publish(self, url: str) -> None:
        """Publish the first CRLs of this start, so that no connection is taken without; the tables are there. Blocks.

        :raises StoreUnavailable: the store cannot be used at the moment.
        """
        if self._cas:
            with closing(Store.open(url, upgrade=False, connections=1)) as store:
                for each in self._cas.values():
                    each.prepare(store.certificates)

    async def catch_up(self) -> None:
        """Have what is in force, for those who take the place of others while the ledger is open.

        :raises AuthorityError: the store cannot be used at the moment.
        """
        for each in self._cas.values():
            await each.catch_up()

    def room(self) -> Crls:
        """Build the room ``/crl``."""
        return Crls({ca_id: partial(_current, each) for ca_id, each in self._cas.items()})

    def bind(self, connections: ServerConnections) -> list[Callable[[], None]]:
        """Have a listener refuse what they list, from now on until all that is returned is called."""
        return [each.tell(partial(connections.honour, ca_id)) for ca_id, each in self._cas.items()]


def issuers(cas: Mapping[str, Authority], grouped: Pools) -> dict[str, Sequence[Revokes]]:
    """Who revokes, by the name of the group or, outside of groups, of the CA: clones stand in for each other."""
    found: dict[str, Sequence[Revokes]] = {
        ca_id: [ca] for ca_id, ca in cas.items() if isinstance(ca, Revokes) and grouped.pool_of(ca_id) is None
    }
    for name, pool in grouped.pools.items():
        members = [cas[each.id] for each in pool.members]
        found[name] = [each for each in members if isinstance(each, Revokes)]
    return found


class ForAdministrators:
    """Revocation in the words of the admin API (:class:`kipuka.web.admin.backend.Revocation`)."""

    reasons = tuple(each.value for each in Reason)

    def __init__(self, revocation: Revocation) -> None:
        self._revocation = revocation

    async def revoke(self, serial: int, reason: str, ca_id: str | None, by: str) -> dict[str, object]:
        """Withdraw a certificate, put it on hold or release it.

        :raises RequestError: NOT_FOUND, CONFLICT.
        :raises AuthorityError: the CA refused, or is in trouble.
        """
        result = await self._revocation.revoke(serial, Reason(reason), ca_id, by)
        standing = result.revoked.standing
        return {
            "serial": f"0x{result.serial:x}",
            "ca_id": result.ca_id,
            "outcome": result.revoked.effect.value,
            "subject": standing.subject,
            "reason": None if standing.reason is None else standing.reason.value,
            "since": None if standing.since is None else standing.since.isoformat(),
            "said": result.revoked.said or None,
        }


def _shown(standing: Standing) -> backend.Standing:
    if standing.reason is None:
        return backend.Standing("good")
    return backend.Standing("revoked", standing.since, standing.reason.value)


def _current(revocation: local.Revocation) -> Crl | None:
    current = revocation.published
    return None if current is None else Crl(current.number, current.der, current.parsed.last_update_utc)
