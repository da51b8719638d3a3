"""The groups of a configuration, and the watch over every CA that can be watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from twisted.internet.interfaces import IReactorTime

from kipuka.authority.interface import Authority, Probed
from kipuka.authority.pool import Health, Member, Pool, Thresholds, Transition, Vitals, Watch
from kipuka.authority.pool.choice import Choice, InOrder, LeastConnections, RoundRobin
from kipuka.authority.pool.member import Clone
from kipuka.config import model

Told = Callable[[Transition], None]


@dataclass(frozen=True)
class Pools:
    """The pools by name, and how the CAs are.

    :param cas: the watches of the CAs, in a group or not, by id.
    :param beside: those of what stands beside a CA, by the CA's id and its own name, such as "kra".
    :param members: the CAs of all groups, by id.
    """

    pools: Mapping[str, Pool]
    cas: Mapping[str, Watch]
    beside: Mapping[str, Mapping[str, Watch]]
    members: Mapping[str, Member]

    @property
    def watches(self) -> list[Watch]:
        """All of them."""
        return [*self.cas.values(), *(watch for each in self.beside.values() for watch in each.values())]

    def health(self) -> dict[str, Health]:
        """How each CA is, by its id."""
        return {ca_id: self._health(watch.vitals) for ca_id, watch in self.cas.items()}

    def as_json(self) -> dict[str, dict[str, object]]:
        """How each CA is, and what stands beside it, in the shape of ``/health/ca``."""
        beside = {
            ca_id: {name: watch.vitals.health().as_json() for name, watch in watches.items()}
            for ca_id, watches in self.beside.items()
        }
        return {ca_id: health.as_json() | beside.get(ca_id, {}) for ca_id, health in self.health().items()}

    def pool_of(self, ca_id: str) -> Pool | None:
        """The pool a CA belongs to."""
        return next((pool for pool in self.pools.values() if ca_id in {each.id for each in pool.members}), None)

    def _health(self, vitals: Vitals) -> Health:
        member = self.members.get(vitals.id)
        return vitals.health() if member is None else member.health()


def pools(
    config: model.Config,
    cas: Mapping[str, Authority],
    beside: Mapping[str, Mapping[str, Probed]],
    reactor: IReactorTime,
    told: Told,
) -> Pools:
    """Build the groups; nothing is sent yet.

    :param beside: what is watched with a CA, by the CA's id and its own name.
    :param told: hears of every change of a CA's health.
    """
    groups = config.ha.group if config.ha.enabled else ()
    settings = {ca_id: group for group in groups for ca_id in group.ca_ids}
    watches, members = {}, {}
    for ca in config.ca:
        authority = cas[ca.id]
        if not isinstance(authority, Probed):
            continue
        group = settings.get(ca.id)
        watches[ca.id] = _watch(ca.id, authority, group, reactor, told)
        if group is not None and isinstance(ca, model.DogtagCa):
            members[ca.id] = Member(cast("Clone", authority), watches[ca.id].vitals, reactor, ca.max_connections)
    others = {
        ca_id: {
            name: _watch(f"{ca_id} {name}", each, settings.get(ca_id), reactor, told) for name, each in found.items()
        }
        for ca_id, found in beside.items()
    }
    built = {
        group.name: Pool(group.name, [members[ca_id] for ca_id in group.ca_ids], _choice(config.ha, group))
        for group in groups
    }
    return Pools(built, watches, others, members)


def _watch(name: str, target: Probed, group: model.HaGroup | None, reactor: IReactorTime, told: Told) -> Watch:
    # Of what is in no group the health is only shown; the defaults of a group will do for that.
    rules = group or model.HaGroup(name=name.replace(" ", "-"), ca_ids=(name.replace(" ", "-"),))
    thresholds = Thresholds(rules.failure_threshold, rules.success_threshold)
    vitals = Vitals(name, reactor, thresholds, None if group is None else group.name, told)
    return Watch(target, vitals, reactor, random.random, rules.health_check_interval, rules.timeout)


def _choice(ha: model.Ha, group: model.HaGroup) -> Choice:
    if ha.strategy == "active-passive":
        return InOrder()
    return LeastConnections() if group.load_balancing == "least-connections" else RoundRobin()
