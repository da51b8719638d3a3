"""The ledger of a configuration, and who submits and polls for each CA."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from kipuka.assembly.audit import Reactor, trail
from kipuka.authority.interface import Authority
from kipuka.config import model
from kipuka.enrollment.desk import Desk
from kipuka.enrollment.ledger import Ledger
from kipuka.enrollment.polling import Poller
from kipuka.enrollment.registration import Registration, Times
from kipuka.enrollment.submission import Submitter
from kipuka.observe.audit.record import Record
from kipuka.store.store import Store

_log = Logger("kipuka.ledger")

_LOCAL_POLL = 5
_CONNECTIONS = 5
_SETTLE_TIMES, _SETTLE_AT_LEAST = 2, 5
"""How long look-ups must find nothing: so many times the CA's time limit, and so many seconds however short that is.
No request takes that long at a CA."""


class Office:
    """The desk, and the registration authorities that hand requests to it.

    :raises UnusableDatabase: the database will not do.
    :raises StoreUnavailable: it cannot be used at the moment.
    """

    def __init__(self, config: model.Config, authorities: Mapping[str, Authority], reactor: Reactor) -> None:
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
        self.trail = trail(config.audit, reactor, self._store_audit)
        self._ledger = Ledger(
            lambda: Store.open(url, upgrade=False, connections=threads),
            lambda work: deferToThreadPool(reactor, pool, work),
            reactor,
            f"{socket.gethostname()} {secrets.token_hex(8)}",
            lambda _event, _row: None,
            timedelta(seconds=config.db.keep),
            timedelta(seconds=config.est.replay_window),
            self.trail,
        )
        self._replay = config.est.replay_window
        self._cas = {ca.id: ca for ca in config.ca}
        self._submitters = {ca.id: self._submitter(ca, authorities[ca.id]) for ca in config.ca}
        pollers = [self._poller(ca, authorities[ca.id], reactor) for ca in config.ca]
        self.desk = Desk(self._ledger, list(self._submitters.values()), pollers, self.trail)

    def _store_audit(self, records: Sequence[Record]) -> Deferred[None]:
        return self._ledger.run(lambda: self._ledger.store.audit.append(records))

    def registration(self, ca_id: str, label: str | None, profile: str | None) -> Registration:
        """The registration authority of a label."""
        ca = self._cas[ca_id]
        times = Times(replay=self._replay)
        if isinstance(ca, model.DogtagCa):
            times = Times(ca.approval_timeout, _settle(ca), self._replay)
        return Registration(self._submitters[ca_id], self._ledger, times, label=label, profile=profile)

    def _submitter(self, ca: model.Ca, authority: Authority) -> Submitter:
        if isinstance(ca, model.DogtagCa):
            # Half of the settling time: the other half is the CA's, should this process be given up meanwhile.
            return Submitter(authority, self._ledger, ca.timeout)
        return Submitter(authority, self._ledger)

    def _poller(self, ca: model.Ca, authority: Authority, reactor: Reactor) -> Poller:
        if isinstance(ca, model.DogtagCa):
            interval, settle = ca.poll_interval, _settle(ca)
        else:
            interval, settle = _LOCAL_POLL, 0
        return Poller(authority, self._ledger, reactor, interval, settle, random.random)


def _settle(ca: model.DogtagCa) -> int:
    return max(_SETTLE_TIMES * ca.timeout, _SETTLE_AT_LEAST)
