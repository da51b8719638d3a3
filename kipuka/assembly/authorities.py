"""The CAs of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import Authority
from kipuka.authority.local import LocalAuthority
from kipuka.authority.local.book import Book
from kipuka.config import material, model
from kipuka.enrollment.ledger import Ledger
from kipuka.errors import AuthorityError, Kind
from kipuka.store.store import StoreUnavailable
from kipuka.tls.client import ClientPolicy

Ask = Callable[[str], str]
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


def authority(ca: model.Ca, reactor: IReactorTime, ask: Ask | None, ledger: Ledger) -> Authority:
    """Build one CA; nothing is sent to it yet.

    :param ledger: a file CA's book is in the same store.
    :raises MaterialError: a file of it cannot be used.
    """
    if isinstance(ca, model.FileCa):
        return LocalAuthority(
            ca.id,
            material.certificates(ca.cert)[0],
            material.private_key(ca.key, ca.key_passphrase, ask),
            (*material.certificates(ca.cert)[1:], *(material.certificates(ca.chain) if ca.chain else ())),
            ca.validity_days,
            reactor,
            InLedger(ledger),
        )
    if isinstance(ca, model.DogtagCa):
        policy = ClientPolicy(
            material.certificates(ca.ca_cert),
            material.certificates(ca.agent_cert),
            material.private_key(ca.agent_key, ca.agent_key_passphrase, ask, setting="agent_key_passphrase"),
        )
        return DogtagAuthority.open(
            reactor,
            id=ca.id,
            url=ca.url,
            policy=policy,
            profile=ca.profile,
            timeout=ca.timeout,
            max_connections=ca.max_connections,
            cache_ttl=ca.cache_ttl if ca.cache_certificates else 0,
            paths=ca.paths,
        )
    raise TypeError(f"no CA of type {ca.type} is built")
