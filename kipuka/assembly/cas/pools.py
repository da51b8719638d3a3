"""The groups of a configuration, and the watch over every CA that can be watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from twisted.internet.interfaces import IReactorTime

from kipuka.authority.interface import Authority, Probed
from kipuka.authority.pool import Health, Member, Pool, Thresholds, Transition, Vitals, Watch
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.pool.choice import Choice, InOrder, LeastConnections, RoundRobin
from kipuka.authority.pool.member import Clone
from kipuka.config import model

Told = Callable[[Transition], None]


@dataclass(frozen=True)
class Rules:
    """What the health of something is judged by.

    :param group: where it belongs to one.
    """

    url: str
    thresholds: Thresholds
    group: str | None


@dataclass(frozen=True)
class Pools:
    """The pools by name, and how the CAs are.

    :param cas: the watches of the CAs, in a group or not, by id.
    :param beside: those of what stands beside a CA, by the CA's id and its own name, such as "kra".
    :param members: the CAs of all groups, by id.
    :param rules: what each watch goes by, under its name; a watch with the same rules takes over what is known.
    """

    pools: Mapping[str, Pool]
    cas: Mapping[str, Watch]
    beside: Mapping[str, Mapping[str, Watch]]
    members: Mapping[str, Member]
    rules: Mapping[str, Rules]

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

    def is_away(self, ca_id: str) -> bool:
        """Whether probes and requests have failed too often at a CA; not of one that is not watched."""
        watch = self.cas.get(ca_id)
        return watch is not None and watch.vitals.circuit is Circuit.OPEN

    def pool_of(self, ca_id: str) -> Pool | None:
        """The pool a CA belongs to."""
        return next((pool for pool in self.pools.values() if ca_id in {each.id for each in pool.members}), None)

    def vitals(self, name: str, rules: Rules) -> Vitals | None:
        """What is known of something that is watched by just these rules."""
        if self.rules.get(name) != rules:
            return None
        watches = {watch.vitals.id: watch for watch in self.watches}
        return watches[name].vitals

    def _health(self, vitals: Vitals) -> Health:
        member = self.members.get(vitals.id)
        return vitals.health() if member is None else member.health()


def pools(
    config: model.Config,
    cas: Mapping[str, Authority],
    beside: Mapping[str, Mapping[str, Probed]],
    reactor: IReactorTime,
    told: Told,
    before: Pools | None = None,
) -> Pools:
    """Build the groups; nothing is sent yet.

    :param beside: what is watched with a CA, by the CA's id and its own name.
    :param told: hears of every change of a CA's health.
    :param before: those of the configuration before this one; what is known of a CA's health stays known.
    """
    groups = config.ha.group if config.ha.enabled else ()
    settings = {ca_id: group for group in groups for ca_id in group.ca_ids}
    rules: dict[str, Rules] = {}

    def watch(ca: model.Ca, name: str, target: Probed, url: str) -> Watch:
        group = settings.get(ca.id)
        # Of what is in no group the health is only shown; the defaults of a group will do for that.
        knobs = group or model.HaGroup(name=ca.id, ca_ids=(ca.id,))
        thresholds = Thresholds(knobs.failure_threshold, knobs.success_threshold)
        rules[name] = Rules(url, thresholds, None if group is None else group.name)
        vitals = None if before is None else before.vitals(name, rules[name])
        vitals = vitals or Vitals(name, reactor, thresholds, rules[name].group, told)
        return Watch(target, vitals, reactor, random.random, knobs.health_check_interval, knobs.timeout)

    watches, members, others = {}, {}, {}
    for ca in config.ca:
        authority = cas[ca.id]
        if isinstance(authority, Probed):
            watches[ca.id] = watch(ca, ca.id, authority, str(getattr(ca, "url", "")))
        if ca.id in settings and isinstance(ca, model.DogtagCa):
            members[ca.id] = Member(cast("Clone", authority), watches[ca.id].vitals, reactor, ca.max_connections)
        others[ca.id] = {
            name: watch(ca, f"{ca.id} {name}", each, str(getattr(ca, f"{name}_url", "")))
            for name, each in beside.get(ca.id, {}).items()
        }
    built = {
        group.name: Pool(group.name, [members[ca_id] for ca_id in group.ca_ids], _choice(config.ha, group))
        for group in groups
    }
    return Pools(built, watches, others, members, rules)


def _choice(ha: model.Ha, group: model.HaGroup) -> Choice:
    if ha.strategy == "active-passive":
        return InOrder()
    return LeastConnections() if group.load_balancing == "least-connections" else RoundRobin()
