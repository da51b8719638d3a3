"""From a configuration to the objects that serve it. Everything is loaded and checked before anything listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.http import Request

from kipuka import service
from kipuka.access.users import Users
from kipuka.assembly import enrollment
from kipuka.assembly.audit import Reactor as OfficeReactor
from kipuka.assembly.audit import audit_refused
from kipuka.assembly.authorities import authority
from kipuka.assembly.labels import labels
from kipuka.assembly.listener import server_material
from kipuka.config import model
from kipuka.config.faults import ConfigFaults
from kipuka.config.inspect import inspect
from kipuka.sockets import open_all
from kipuka.tls.server import ServerConnections
from kipuka.web.authentication import Passwords
from kipuka.web.est import EstOperations
from kipuka.web.limits import ConnectionLimit, Limits
from kipuka.web.routing import Gate
from kipuka.web.session import client_address
from kipuka.web.site import EstSite
from kipuka.web.tree import Tree

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
    office = enrollment.Office(config, {ca.id: authority(ca, reactor, ask) for ca in config.ca}, reactor)
    audit = office.trail.note
    connections = ServerConnections(server_material(config.tls, ask), audit_refused(audit))
    users = None if config.est.users is None else Users.parse(config.est.users.read_text("utf-8"))
    passwords = Passwords(users, lambda check: deferToThreadPool(reactor, reactor.getThreadPool(), check))
    gate = Gate(labels(config, office.registration, users), passwords, config.est.retry_after, audit)
    server = config.server
    limits = Limits(server.max_body_size, server.header_timeout, server.body_timeout, server.idle_timeout)
    est = EstOperations(gate, config.est.retry_after).resource()
    site = EstSite(Tree(est, {}), reactor, limits, _log_access)
    secured = TLSMemoryBIOFactory(connections, isClient=False, wrappedFactory=site, clock=reactor)
    limited = ConnectionLimit(secured, server.max_connections, server.max_connections_per_address)
    sockets = open_all(server.listen, environ)
    return service.EstService(reactor, sockets, limited, site, office.desk, server.shutdown_timeout)


def _log_access(request: Request) -> None:
    """One line for each answer; what the client sent is escaped, so that it cannot forge a line."""
    _access.info(
        "{address} {method!r} {path!r} {status} {size} bytes",
        address=client_address(request),
        method=request.method,
        path=request.uri[:200],
        status=request.code,
        size=request.sentLength,
    )
