"""From a configuration to the objects that serve it. Everything is loaded and checked before anything listens."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.http import Request

from kipuka import service
from kipuka.access.users import Users
from kipuka.assembly import admin, enrollment, health, monitoring
from kipuka.assembly.audit import Reactor as OfficeReactor
from kipuka.assembly.audit import audit_health, audit_refused
from kipuka.assembly.authorities import authority, beside
from kipuka.assembly.chains import KeptChains
from kipuka.assembly.labels import labels
from kipuka.assembly.listener import server_material
from kipuka.assembly.pools import pools
from kipuka.assembly.revocation import ForAdministrators, Lists
from kipuka.config import model
from kipuka.config.faults import ConfigFaults
from kipuka.config.inspect import inspect
from kipuka.observe.audit.record import Audit
from kipuka.observe.metrics import Metrics, Sources
from kipuka.sockets import CannotListen, open_all
from kipuka.tls.server import ServerConnections, ServerMaterial
from kipuka.web.est.authentication import Passwords
from kipuka.web.est.operations import EstOperations
from kipuka.web.est.routing import Gate
from kipuka.web.http.limits import ConnectionLimit, Limits
from kipuka.web.http.nothing import Nothing
from kipuka.web.http.session import client_address, reference
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree
from kipuka.web.metrics import MetricsPage

Ask = Callable[[str], str]

_access = Logger("kipuka.access")


class Reactor(service.Reactor, OfficeReactor):
    """What kipuka needs of a reactor."""


def assemble(
    config: model.Config, reactor: Reactor, environ: Mapping[str, str], ask: Ask | None, now: datetime
) -> service.EstService:
    """Build the service.

    :param ask: asks a person for a passphrase; None when nobody is there.
    :raises ConfigFaults: files that do not fit the configuration, all at once.
    :raises MaterialError: a key that cannot be opened.
    :raises CannotListen: an address that is taken.
    """
    ask = None if ask is None else cache(ask)  # each passphrase is asked for once
    faults = inspect(config, now, ask=ask, environ=environ)
    if faults:
        raise ConfigFaults(faults)
    metrics = Metrics(monitoring.names(config), reactor.seconds)
    ledger, trail = enrollment.open_ledger(config, reactor, metrics.happened, metrics.audit_failed)
    audit = trail.note
    kept = KeptChains(ledger)
    cas = {ca.id: authority(ca, reactor, ask, ledger, metrics.called, kept) for ca in config.ca}
    lists = Lists(cas.values())
    lists.publish(config.db.url)
    grouped = pools(config, cas, {ca.id: beside(ca, reactor, ask) for ca in config.ca}, reactor, audit_health(audit))
    office = enrollment.Office(config, ledger, trail, cas, grouped, lists, reactor)
    tls = server_material(config.tls, ask)
    users = None if config.est.users is None else Users.parse(config.est.users.read_text("utf-8"))
    passwords = Passwords(
        users,
        monitoring.passwords(metrics, lambda check: deferToThreadPool(reactor, reactor.getThreadPool(), check)),
    )
    offered = labels(config, office.registration, users)
    gate = Gate(offered, passwords, config.est.retry_after, audit, metrics.began)
    est = EstOperations(gate, config.est.retry_after).resource()
    counts = monitoring.LedgerCounts(office.counts, reactor)
    administrators = admin.gate(config, reactor, audit)
    readers = health.readers(config, administrators)
    revocation = ForAdministrators(office.revocation)
    # What is not EST is where the admin API is, but for the CRLs: they are for whoever meets a certificate.
    rooms = {
        b"admin": admin.room(
            config, administrators, office.records, grouped.as_json, admin.AuditRecords(ledger), revocation
        ),
        b"health": health.room(config, grouped.as_json, ledger, lambda: bool(daemon.running), readers),
        b"metrics": MetricsPage(metrics.exposition, counts.refresh, readers).resource(),
    }

    def listener(
        addresses: Sequence[model.ListenAddress], tree: Tree, own: ServerMaterial, purpose: str = "EST"
    ) -> service.Listener:
        return _listener(open_all(addresses, environ), tree, own, config, reactor, metrics, audit, lists, purpose)

    public = {b"crl": lists.room(), **(rooms if config.admin_shares_port else {})}
    listeners = [listener(config.server.listen, Tree(est, public), tls)]
    if not config.admin_shares_port:
        nothing = Nothing("There is nothing here: EST is at another port, and the admin API below /admin.")
        try:
            own = admin.own_material(config, tls)
            listeners.append(listener(config.admin.listen or (), Tree(nothing, rooms), own, "admin"))
        except CannotListen:
            for each in listeners[0].sockets:
                each.close()
            raise
    metrics.sources = Sources(
        connections=lambda: sum(each.factory.connections for each in listeners),
        refused_connections=lambda: sum(each.factory.refused for each in listeners),
        waiting=office.waiting,
        rows=counts.rows,
        statuses=lambda: {ca_id: each.status.value for ca_id, each in grouped.health().items()},
    )
    daemon = service.EstService(reactor, listeners, office.desk, config.server.shutdown_timeout)
    return daemon


def _listener(
    sockets: Sequence[socket.socket],
    tree: Tree,
    tls: ServerMaterial,
    config: model.Config,
    reactor: Reactor,
    metrics: Metrics,
    audit: Audit,
    lists: Lists,
    purpose: str,
) -> service.Listener:
    """Put in front of the tree what every listener has: limits and TLS."""
    server = config.server
    limits = Limits(server.max_body_size, server.header_timeout, server.body_timeout, server.idle_timeout)
    site = EstSite(tree, reactor, limits, _log_access, monitoring.handshakes(metrics), tree.speaks_json)
    connections = ServerConnections(tls, monitoring.refusals(metrics, audit_refused(audit)))
    lists.bind(connections)
    secured = TLSMemoryBIOFactory(connections, isClient=False, wrappedFactory=site, clock=reactor)
    limited = ConnectionLimit(secured, server.max_connections, server.max_connections_per_address)
    return service.Listener(sockets, limited, site, purpose)


def _log_access(request: Request) -> None:
    """One line for each answer; what the client sent is escaped, so that it cannot forge a line."""
    _access.info(
        "{address} {method!r} {path!r} {status} {size} bytes {reference}",
        address=client_address(request),
        method=request.method,
        path=request.uri[:200],
        status=request.code,
        size=request.sentLength,
        reference=reference(request),
    )
