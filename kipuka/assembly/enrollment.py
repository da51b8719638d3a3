"""The ledger of a configuration, and who submits and polls for each CA."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from kipuka.assembly.audit import Reactor, trail
from kipuka.assembly.pools import Pools
from kipuka.assembly.revocation import Lists, issuers
from kipuka.authority.interface import Authority
from kipuka.config import model
from kipuka.enrollment.desk import Desk, Loop
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.records import Records
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.reconciliation import STUCK
from kipuka.enrollment.registration import Registration, Times
from kipuka.enrollment.revocation import Revocation
from kipuka.enrollment.submission import Submitter
from kipuka.observe.audit.record import Record
from kipuka.observe.audit.trail import Trail
from kipuka.store.rows import State
from kipuka.store.store import Store

_log = Logger("kipuka.ledger")

_LOCAL_POLL = 5
_CONNECTIONS = 5
_SETTLE_TIMES, _SETTLE_AT_LEAST = 2, 5
"""How long look-ups must find nothing: so many times the CA's time limit, and so many seconds however short that is.
No request takes that long at a CA."""
_ROUNDS, _RESTART = 6, 60
"""Rounds of polling, and seconds in which a CA that is started anew says nothing."""


def open_ledger(
    config: model.Config, reactor: Reactor, happened: Callable[[str, str], None], unwritten: Callable[[], None]
) -> tuple[Ledger, Trail]:
    """Make the ledger, its tables, and the audit, whose records are in the same database.

    :param happened: told the CA and the name of each event of the ledger, for the metrics.
    :param unwritten: told of each attempt to write the audit that failed.
    :raises UnusableDatabase: the database will not do.
    :raises StoreUnavailable: it cannot be used at the moment.
    """
    url = config.db.url
    store = Store.open(url)  # tables made, upgraded or refused while there is still a terminal to say so
    if store.copy is not None:
        _log.info("the tables of the ledger were upgraded; a copy of what was before is {file}", file=store.copy)
    store.close()
    threads = 1 if url.startswith("sqlite:") else _CONNECTIONS
    pool = ThreadPool(minthreads=1, maxthreads=threads, name="ledger")
    # Threads do not survive the fork of a daemon that detaches, so they begin with the reactor.
    reactor.callWhenRunning(pool.start)
    reactor.addSystemEventTrigger("after", "shutdown", pool.stop)

    def write(records: Sequence[Record]) -> Deferred[None]:
        return ledger.run(lambda: ledger.store.audit.append(records))

    audit = trail(config.audit, reactor, write, unwritten)
    ledger = Ledger(
        lambda: Store.open(url, upgrade=False, connections=threads),
        lambda work: deferToThreadPool(reactor, pool, work),
        reactor,
        f"{socket.gethostname()} {secrets.token_hex(8)}",
        lambda event, row: happened(row.application.ca_id, event.value),
        timedelta(seconds=config.db.keep),
        timedelta(seconds=config.est.replay_window),
        audit,
    )
    return ledger, audit


class Office:
    """The desk, the registration authorities that hand requests to it, and revocation."""

    def __init__(
        self,
        config: model.Config,
        ledger: Ledger,
        audit: Trail,
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
        self.revocation = Revocation(ledger, issuers(authorities, grouped))
        loops: list[Loop] = [*pollers, *grouped.watches, *lists.loops]
        self.desk = Desk(self._ledger, list(self._submitters.values()), loops, self.revocation, audit)

    def registration(self, ca_id: str, label: str | None, profile: str | None) -> Registration:
        """The registration authority of a label.

        :param ca_id: of a CA, or the name of a group.
        """
        return Registration(self._submitters[ca_id], self._ledger, self._times(ca_id), label=label, profile=profile)

    def waiting(self) -> int:
        """How many clients wait for the ledger."""
        return self._ledger.waiting

    def counts(self) -> Deferred[dict[State, int]]:
        """How many rows there are in each state; fails with StoreUnavailable."""
        return self._ledger.run(lambda: self._ledger.store.counts())

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
