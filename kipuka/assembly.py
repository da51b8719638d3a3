"""From a configuration to the objects that serve it. Everything is loaded and checked before anything listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache

from OpenSSL import SSL
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.http import Request

from kipuka import service
from kipuka.access import checks
from kipuka.access.policy import Credential, Policy
from kipuka.access.users import Users
from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.interface import Authority
from kipuka.authority.local import LocalAuthority
from kipuka.config import material, model
from kipuka.config.faults import ConfigFaults
from kipuka.config.inspect import inspect
from kipuka.enrollment.registration import Registration
from kipuka.est import csrattrs
from kipuka.est.keys import KeyType
from kipuka.observe import audit
from kipuka.sockets import open_all
from kipuka.tls.client import ClientPolicy
from kipuka.tls.server import ClientCertificates, RefusedCertificate, ServerConnections, ServerMaterial
from kipuka.web.authentication import Passwords
from kipuka.web.est import EstOperations
from kipuka.web.limits import ConnectionLimit, Limits
from kipuka.web.routing import Gate, Label
from kipuka.web.session import client_address
from kipuka.web.site import EstSite

Ask = Callable[[str], str]

_access = Logger("kipuka.access")


class Reactor(service.Reactor, IReactorThreads):
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
    authorities = {ca.id: _authority(ca, reactor, ask) for ca in config.ca}
    connections = ServerConnections(_server_material(config.tls, ask), _audit_refused)
    users = None if config.est.users is None else Users.parse(config.est.users.read_text("utf-8"))
    passwords = Passwords(users, lambda check: deferToThreadPool(reactor, reactor.getThreadPool(), check))
    gate = Gate(_labels(config, authorities, users), passwords, config.est.retry_after, audit.to_log)
    server = config.server
    limits = Limits(server.max_body_size, server.header_timeout, server.body_timeout, server.idle_timeout)
    site = EstSite(EstOperations(gate, config.est.retry_after).resource(), reactor, limits, _log_access)
    secured = TLSMemoryBIOFactory(connections, isClient=False, wrappedFactory=site, clock=reactor)
    limited = ConnectionLimit(secured, server.max_connections, server.max_connections_per_address)
    sockets = open_all(server.listen, environ)
    return service.EstService(reactor, sockets, limited, site, list(authorities.values()), server.shutdown_timeout)


def _authority(ca: model.Ca, reactor: Reactor, ask: Ask | None) -> Authority:
    if isinstance(ca, model.FileCa):
        return LocalAuthority(
            ca.id,
            material.certificates(ca.cert)[0],
            material.private_key(ca.key, ca.key_passphrase, ask),
            (*material.certificates(ca.cert)[1:], *(material.certificates(ca.chain) if ca.chain else ())),
            ca.validity_days,
            reactor,
        )
    if isinstance(ca, model.DogtagCa):
        policy = ClientPolicy(
            material.certificates(ca.ca_cert),
            material.certificates(ca.agent_cert),
            material.private_key(ca.agent_key, ca.agent_key_passphrase, ask, setting="agent_key_passphrase"),
        )
        return DogtagAuthority.open(
            reactor,
            id=ca.id,
            url=ca.url,
            policy=policy,
            profile=ca.profile,
            timeout=ca.timeout,
            max_connections=ca.max_connections,
            cache_ttl=ca.cache_ttl if ca.cache_certificates else 0,
            paths=ca.paths,
        )
    raise TypeError(f"no CA of type {ca.type} is built")


def _labels(config: model.Config, authorities: Mapping[str, Authority], users: Users | None) -> dict[str | None, Label]:
    if not config.est.enabled:
        return {}
    labels = {each.name: _label(each, config, authorities, users) for each in config.est.label}
    if config.est.default_label is not None:
        return {None: replace(labels[config.est.default_label], name=None)} | labels
    unlabelled = Label(
        None,
        Policy(_ways(model.DEFAULT_AUTH, users)),
        Registration(authorities[config.default_ca], None),
        offers_attributes=config.est.csrattrs,
    )
    return {None: unlabelled} | labels


def _label(
    label: model.Label, config: model.Config, authorities: Mapping[str, Authority], users: Users | None
) -> Label:
    linking = label.proof_of_possession == "required"
    policy = Policy(_ways(label.auth, users), tuple(_checks(label)), linking)
    registration = Registration(authorities[label.ca_id], label.dogtag_profile)
    attributes = csrattrs.encode(
        map(KeyType.parse, label.allowed_key_types),
        challenge_password=linking,
        extra=map(csrattrs.parse, label.csr_attributes),
    )
    return Label(label.name, policy, registration, label.line_wrap, attributes, config.est.csrattrs)


def _checks(label: model.Label) -> Iterator[checks.Check]:
    if label.allow is not None:
        yield checks.allow(label.allow)
    if label.subject_pattern is not None:
        yield checks.subject_pattern(label.subject_pattern)
    if label.san_pattern is not None:
        yield checks.san_pattern(label.san_pattern)
    if label.allowed_key_types:
        yield checks.allowed_key_types(label.allowed_key_types)
    if label.require_san:
        yield checks.require_san()


def _ways(auth: Sequence[str], users: Users | None) -> tuple[frozenset[Credential], ...]:
    """Read ``auth``; where nobody has a password, nobody is asked for one."""
    ways = tuple(frozenset(Credential(each) for each in way.split("+")) for way in auth)
    return ways if users is not None else tuple(way for way in ways if Credential.BASIC not in way)


def _server_material(tls: model.Tls, ask: Ask | None) -> ServerMaterial:
    clients = tls.client_auth
    return ServerMaterial(
        material.certificates(tls.cert),
        material.private_key(tls.key, tls.key_passphrase, ask),
        SSL.TLS1_3_VERSION if tls.min_version == "1.3" else SSL.TLS1_2_VERSION,
        ClientCertificates(clients.mode),
        tuple(anchor for path in clients.trust_anchors for anchor in material.certificates(path)),
        tuple(crl for path in clients.crl for crl in material.crls(path)),
    )


def _audit_refused(refused: RefusedCertificate) -> None:
    audit.to_log(
        "client certificate refused",
        {
            "address": refused.address,
            "reason": refused.reason,
            "errno": refused.errno,
            "depth": refused.depth,
            "subject": refused.subject,
            "serial": f"0x{refused.serial:x}",
        },
    )


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
