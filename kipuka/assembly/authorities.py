"""The CAs of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import Authority
from kipuka.authority.local import LocalAuthority
from kipuka.config import material, model
from kipuka.tls.client import ClientPolicy

Ask = Callable[[str], str]


Called = Callable[[str, str, str, float], None]
"""Told each call to a CA: its id, the operation, the outcome, seconds."""


def authority(ca: model.Ca, reactor: IReactorTime, ask: Ask | None, called: Called) -> Authority:
    """Build one CA; nothing is sent to it yet.

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
            observe=partial(called, ca.id),
        )
    raise TypeError(f"no CA of type {ca.type} is built")
