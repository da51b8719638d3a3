"""The CAs of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from kipuka.assembly.cas.revocation import InLedger
from kipuka.assembly.foundation import Ask
from kipuka.authority.dogtag import DogtagAuthority, Keeper, Subsystem
from kipuka.authority.interface import Authority
from kipuka.authority.local import LocalAuthority
from kipuka.config import material, model
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.tls.client import ClientPolicy

Called = Callable[[str, str, str, float], None]
"""Told each call to a CA: its id, the operation, the outcome, seconds."""


def authority(
    ca: model.Ca, reactor: IReactorTime, ask: Ask | None, ledger: Ledger, called: Called, keeper: Keeper | None = None
) -> Authority:
    """Build one CA; nothing is sent to it yet.

    :param ledger: a file CA's book is in the same store.
    :param keeper: where its chain outlives the process.
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
        return DogtagAuthority.open(
            reactor,
            id=ca.id,
            url=ca.url,
            policy=_agent(ca, ask),
            profile=ca.profile,
            timeout=ca.timeout,
            max_connections=ca.max_connections,
            cache_ttl=ca.cache_ttl if ca.cache_certificates else 0,
            paths=ca.paths,
            trust=material.certificates(ca.ca_cert),
            keeper=keeper,
            observe=partial(called, ca.id),
        )
    raise TypeError(f"no CA of type {ca.type} is built")


def beside(ca: model.Ca, reactor: IReactorTime, ask: Ask | None) -> dict[str, Subsystem]:
    """Build what stands beside a CA and is watched with it, by name; nothing is sent to it yet.

    :raises MaterialError: a file of it cannot be used.
    """
    found: dict[str, Subsystem] = {}
    if isinstance(ca, model.DogtagCa) and ca.kra_url is not None:
        found["kra"] = Subsystem.open(Subsystem.kra, reactor, ca.kra_url, _kra_agent(ca, ask))
    if isinstance(ca, model.DogtagCa) and ca.tps_url is not None:
        found["tps"] = Subsystem.open(Subsystem.tps, reactor, ca.tps_url, _agent(ca, ask))
    return found


def _agent(ca: model.DogtagCa, ask: Ask | None) -> ClientPolicy:
    return ClientPolicy(
        material.certificates(ca.ca_cert),
        material.certificates(ca.agent_cert),
        material.private_key(ca.agent_key, ca.agent_key_passphrase, ask, setting="agent_key_passphrase"),
    )


def _kra_agent(ca: model.DogtagCa, ask: Ask | None) -> ClientPolicy:
    if ca.kra_agent_cert is None or ca.kra_agent_key is None:
        return _agent(ca, ask)
    return ClientPolicy(
        material.certificates(ca.ca_cert),
        material.certificates(ca.kra_agent_cert),
        material.private_key(ca.kra_agent_key, ca.kra_agent_key_passphrase, ask, setting="kra_agent_key_passphrase"),
    )
