"""From a configuration to the objects that serve it. Everything is loaded and checked before anything listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from kipuka import service
from kipuka.assembly.descriptors import within_limits
from kipuka.assembly.foundation import Ask, Foundation, Passphrases, Reactor
from kipuka.assembly.generation import Generation, generation
from kipuka.assembly.listener import Front
from kipuka.assembly.reloading import Reload
from kipuka.config import model
from kipuka.config.faults import ConfigFaults
from kipuka.config.inspect import inspect
from kipuka.enrollment.desk import Desk
from kipuka.observe.metrics import Sources
from kipuka.sockets import CannotListen, open_all
from kipuka.tls import trial

__all__ = ["Reactor", "assemble"]


def assemble(
    config: model.Config,
    reactor: Reactor,
    environ: Mapping[str, str],
    ask: Ask | None,
    now: datetime,
    read: Callable[[], model.Config],
) -> service.EstService:
    """Build the service.

    :param ask: asks a person for a passphrase; None when nobody is there. Nobody is asked after this.
    :param read: reads the configuration again, for a reload.
    :raises ConfigFaults: files that do not fit the configuration, all at once.
    :raises MaterialError: a key that cannot be opened.
    :raises CannotListen: an address that is taken.
    :raises UnusableDatabase: the ledger's database will not do.
    :raises StoreUnavailable: it cannot be used at the moment.
    """
    passphrases = None if ask is None else Passphrases(ask)
    faults = inspect(config, now, trial, ask=passphrases, environ=environ)
    if faults:
        raise ConfigFaults(faults)
    base = Foundation.lay(config, reactor)
    first = generation(config, base, passphrases, lambda: bool(daemon.running))
    first.lists.publish(config.db.url)
    if passphrases is not None:
        passphrases.ask_no_more()
    fronts = _fronts(first, base, environ)
    desk = Desk(base.ledger, first.shift, base.trail)
    reload = Reload(read, first, base, fronts, desk, passphrases, environ)
    base.metrics.sources = _sources(base, fronts, reload)
    listeners = [front.listener for front in fronts]
    reactor.callWhenRunning(base.rolls.see, first.rolls)  # the audit has been told by then that this is a start
    daemon = service.EstService(reactor, listeners, desk, config.server.shutdown_timeout, reload)
    return daemon


def _fronts(first: Generation, base: Foundation, environ: Mapping[str, str]) -> list[Front]:
    """Open the listeners: EST's, and the administrators' where they have one of their own.

    :raises CannotListen: one of the addresses; none stays open then.
    """
    addresses = [(first.config.server.listen, "EST"), (first.config.admin.listen or (), "admin")]
    server = within_limits(first.config)
    fronts: list[Front] = []
    for (listen, purpose), face in zip(addresses, first.faces, strict=False):
        try:
            sockets = open_all(listen, environ)
        except CannotListen:
            for front in fronts:
                for each in front.listener.sockets:
                    each.close()
            raise
        fronts.append(Front(sockets, face, first.lists, server, base, purpose))
    return fronts


def _sources(base: Foundation, fronts: Sequence[Front], reload: Reload) -> Sources:
    return Sources(
        connections=lambda: sum(each.factory.connections for each in fronts),
        refused_connections=lambda: sum(each.factory.refused for each in fronts),
        waiting=lambda: base.ledger.waiting,
        rows=base.counts.rows,
        statuses=lambda: {ca_id: each.status.value for ca_id, each in reload.current.pools.health().items()},
    )
