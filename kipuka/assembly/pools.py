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
from kipuka.observe import audit

Told = Callable[[Transition], None]


@dataclass(frozen=True)
class Pools:
    """The pools by name, and how the CAs are.

    :param watches: one for each CA that can be watched, in a group or not.
    :param members: the CAs of all groups, by id.
    """

    pools: Mapping[str, Pool]
    watches: tuple[Watch, ...]
    members: Mapping[str, Member]

    def health(self) -> dict[str, Health]:
        """How each CA is, by its id."""
        return {each.vitals.id: self._health(each.vitals) for each in self.watches}

    def pool_of(self, ca_id: str) -> Pool | None:
        """The pool a CA belongs to."""
        return next((pool for pool in self.pools.values() if ca_id in {each.id for each in pool.members}), None)

    def _health(self, vitals: Vitals) -> Health:
        member = self.members.get(vitals.id)
        return vitals.health() if member is None else member.health()


def pools(config: model.Config, cas: Mapping[str, Authority], reactor: IReactorTime, told: Told) -> Pools:
    """Build the groups; nothing is sent yet.

    :param told: hears of every change of a CA's health.
    """
    groups = config.ha.group if config.ha.enabled else ()
    settings = {ca_id: group for group in groups for ca_id in group.ca_ids}
    watches, members = [], {}
    for ca in config.ca:
        authority = cas[ca.id]
        if not isinstance(authority, Probed):
            continue
        group = settings.get(ca.id)
        # Of a CA in no group the health is only shown; the defaults of a group will do for that.
        rules = group or model.HaGroup(name=ca.id, ca_ids=(ca.id,))
        thresholds = Thresholds(rules.failure_threshold, rules.success_threshold)
        vitals = Vitals(ca.id, reactor, thresholds, None if group is None else group.name, told)
        watches.append(
            Watch(authority, vitals, reactor, random.random, rules.health_check_interval, rules.timeout),
        )
        if group is not None and isinstance(ca, model.DogtagCa):
            members[ca.id] = Member(cast("Clone", authority), vitals, reactor, ca.max_connections)
    built = {
        group.name: Pool(group.name, [members[ca_id] for ca_id in group.ca_ids], _choice(config.ha, group))
        for group in groups
    }
    return Pools(built, tuple(watches), members)


def _choice(ha: model.Ha, group: model.HaGroup) -> Choice:
    if ha.strategy == "active-passive":
        return InOrder()
    return LeastConnections() if group.load_balancing == "least-connections" else RoundRobin()


def audit_health(transition: Transition) -> None:
    """Record that a CA went away or came back."""
    trouble = transition.trouble
    audit.to_log(
        "ca health",
        {
            "ca": transition.ca_id,
            "group": transition.group,
            "before": transition.before.value,
            "after": transition.after.value,
            "reason": trouble and trouble.text,
        },
    )
