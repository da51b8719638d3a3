"""Who submits and polls for each CA of a configuration, and the registration authorities of its labels."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from kipuka.assembly.audit import Reactor
from kipuka.assembly.cas.pools import Pools
from kipuka.assembly.cas.revocation import Lists, issuers
from kipuka.authority.interface import Authority
from kipuka.config import model
from kipuka.enrollment.desk import Loop, Shift
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.records import Records
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.reconciliation import STUCK
from kipuka.enrollment.registration import Registration, Times
from kipuka.enrollment.revocation import Revocation
from kipuka.enrollment.submission import Submitter

_LOCAL_POLL = 5
_SETTLE_TIMES, _SETTLE_AT_LEAST = 2, 5
"""How long look-ups must find nothing: so many times the CA's time limit, and so many seconds however short that is.
No request takes that long at a CA."""
_ROUNDS, _RESTART = 6, 60
"""Rounds of polling, and seconds in which a CA that is started anew says nothing."""


class Office:
    """The shift at the desk, the registration authorities that hand requests to it, and revocation."""

    def __init__(
        self,
        config: model.Config,
        ledger: Ledger,
        authorities: Mapping[str, Authority],
        grouped: Pools,
        lists: Lists,
        reactor: Reactor,
    ) -> None:
        self._ledger = ledger
        self.records = Records(ledger)
        self._replay = config.est.replay_window
        self._cas = {ca.id: ca for ca in config.ca}
        self._grouped = grouped
        self._submitters = {ca.id: self._submitter([ca], authorities[ca.id]) for ca in config.ca}
        for name, group in grouped.pools.items():
            self._submitters[name] = self._submitter([self._cas[each.id] for each in group.members], group)
        pollers = [self._poller(ca, self._instance(ca.id, authorities), reactor) for ca in config.ca]
        self.revocation = Revocation(ledger, issuers(authorities, grouped), grouped.is_away)
        loops: list[Loop] = [*grouped.watches, *lists.loops]
        self.shift = Shift(list(self._submitters.values()), pollers, loops, self.revocation)

    def registration(self, ca_id: str, label: str | None, profile: str | None) -> Registration:
        """The registration authority of a label.

        :param ca_id: of a CA, or the name of a group.
        """
        return Registration(self._submitters[ca_id], self._ledger, self._times(ca_id), label=label, profile=profile)

    def _times(self, ca_id: str) -> Times:
        pool = self._grouped.pools.get(ca_id)
        cas = [self._cas[each.id] for each in pool.members] if pool else [self._cas[ca_id]]
        dogtags = [ca for ca in cas if isinstance(ca, model.DogtagCa)]
        if not dogtags:
            return Times(replay=self._replay)
        approval, settle = max(ca.approval_timeout for ca in dogtags), max(map(_settle, dogtags))
        if pool:
            # A client whose CA dies over its request is kept until a clone has made it another certificate: what the
            # CA died over settles in twice the time, each step waits for a round of polling, and a CA that is started
            # anew meanwhile holds all that up until it can be asked.
            settle = STUCK * settle + _ROUNDS * max(ca.poll_interval for ca in dogtags) + _RESTART
        return Times(approval, settle, self._replay)

    def _instance(self, ca_id: str, authorities: Mapping[str, Authority]) -> Authority:
        """Who is asked what became of the requests of a CA."""
        pool = self._grouped.pool_of(ca_id)
        return authorities[ca_id] if pool is None else pool.instance(ca_id)

    def _submitter(self, cas: Sequence[model.Ca], authority: Authority) -> Submitter:
        timeouts = [ca.timeout for ca in cas if isinstance(ca, model.DogtagCa)]
        if timeouts:
            # Half of the settling time: the other half is the CA's, should this process be given up meanwhile.
            return Submitter(authority, self._ledger, min(timeouts))
        return Submitter(authority, self._ledger)

    def _poller(self, ca: model.Ca, authority: Authority, reactor: Reactor) -> Poller:
        if isinstance(ca, model.DogtagCa):
            interval, settle = ca.poll_interval, _settle(ca)
        else:
            interval, settle = _LOCAL_POLL, 0
        return Poller(authority, self._ledger, reactor, interval, settle, random.random)


def _settle(ca: model.DogtagCa) -> int:
    return max(_SETTLE_TIMES * ca.timeout, _SETTLE_AT_LEAST)
