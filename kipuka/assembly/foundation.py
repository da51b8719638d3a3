"""What outlives a change of the configuration: the ledger, the audit, the metrics, what a person has typed."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from kipuka import service
from kipuka.assembly import monitoring
from kipuka.assembly.audit import Reactor as OfficeReactor
from kipuka.assembly.audit import trail
from kipuka.assembly.rolls import Rolls
from kipuka.config import model
from kipuka.config.material import MaterialError
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.observe.audit.record import Record
from kipuka.observe.audit.trail import Trail
from kipuka.observe.metrics import Metrics, Names
from kipuka.store.store import Store

_log = Logger("kipuka.ledger")

_CONNECTIONS = 5

Ask = Callable[[str], str]
"""Asks a person for a passphrase, given a prompt; no two prompts are the same."""


class Reactor(service.Reactor, OfficeReactor):
    """What kipuka needs of a reactor."""


@dataclass(frozen=True)
class Foundation:
    """What there is one of, from the start of the daemon to its end."""

    reactor: Reactor
    ledger: Ledger
    trail: Trail
    metrics: Metrics
    counts: monitoring.LedgerCounts
    rolls: Rolls

    @classmethod
    def lay(cls, config: model.Config, reactor: Reactor) -> Foundation:
        """Open the ledger's database once, so that whatever is wrong with it is said while there is a terminal.

        :raises UnusableDatabase: the database will not do.
        :raises StoreUnavailable: it cannot be used at the moment.
        :raises MaterialError: a certificate or CRL cannot be read.
        """
        metrics = Metrics(monitoring.names(config), reactor.seconds)
        ledger, audit = _open_ledger(config, reactor, metrics)
        counts = monitoring.LedgerCounts(lambda: ledger.run(lambda: ledger.store.counts()), reactor)
        return cls(reactor, ledger, audit, metrics, counts, Rolls(audit.note))

    def change(self, config: model.Config, names: Names) -> None:
        """Take from a configuration what of this can change."""
        self.metrics.use(names)
        self.ledger.keep = timedelta(seconds=config.db.keep)
        self.ledger.replay = timedelta(seconds=config.est.replay_window)


class Passphrases:
    """What a person has typed at the start, for when the keys are read again: nobody can be asked then."""

    def __init__(self, ask: Ask) -> None:
        self._ask: Ask | None = ask
        self._known: dict[str, str] = {}

    def __call__(self, prompt: str) -> str:
        """Return what was typed.

        :raises MaterialError: nobody was asked this at the start.
        """
        if prompt not in self._known:
            if self._ask is None:
                raise MaterialError(
                    f'nobody can be asked for "{prompt.strip(": ")}" while kipuka runs: configure the passphrase, or '
                    "restart"
                )
            self._known[prompt] = self._ask(prompt)
        return self._known[prompt]

    def ask_no_more(self) -> None:
        """From now on only what was typed before is known."""
        self._ask = None


def _open_ledger(config: model.Config, reactor: Reactor, metrics: Metrics) -> tuple[Ledger, Trail]:
    """Make the ledger, its tables, and the audit, whose records are in the same database."""
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

    audit = trail(config.audit, reactor, write, metrics.audit_failed)
    ledger = Ledger(
        lambda: Store.open(url, upgrade=False, connections=threads),
        lambda work: deferToThreadPool(reactor, pool, work),
        reactor,
        f"{socket.gethostname()} {secrets.token_hex(8)}",
        lambda event, row: metrics.happened(row.application.ca_id, event.value),
        timedelta(seconds=config.db.keep),
        timedelta(seconds=config.est.replay_window),
        audit,
    )
    return ledger, audit
