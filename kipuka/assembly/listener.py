"""A listener: its sockets, and in front of what it shows, limits and TLS."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.http import Request

from kipuka import service
from kipuka.assembly import monitoring
from kipuka.assembly.audit import audit_refused
from kipuka.assembly.cas.revocation import Lists
from kipuka.assembly.foundation import Ask, Foundation
from kipuka.config import material, model
from kipuka.observe.seldom import Seldom
from kipuka.tls.contexts import ClientCertificates, ServerMaterial
from kipuka.tls.server import ServerConnections
from kipuka.web.http.limits import ConnectionLimit, LimitedChannel, Limits
from kipuka.web.http.session import client_address, reference
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree

_access = Logger("kipuka.access")


@dataclass(frozen=True)
class Face:
    """What a listener shows under one configuration: its pages, and its TLS."""

    tree: Tree
    tls: ServerMaterial


class Front:
    """One listener of the daemon.

    :param purpose: for the log: what a client finds there.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        face: Face,
        lists: Lists,
        server: model.Server,
        base: Foundation,
        purpose: str,
    ) -> None:
        metrics, tree = base.metrics, face.tree
        seldom = Seldom(base.reactor.seconds)
        ended = monitoring.handshakes(metrics, seldom)
        self._site = EstSite(tree, base.reactor, _limits(server), _log_access, ended, tree.speaks_json)
        refused = monitoring.refusals(metrics, audit_refused(base.trail.note))
        self._connections = ServerConnections(face.tls, refused, _end)
        self._bound = lists.bind(self._connections)
        secured = TLSMemoryBIOFactory(self._connections, isClient=False, wrappedFactory=self._site, clock=base.reactor)
        self.factory = ConnectionLimit(
            secured, server.max_connections, server.max_connections_per_address, monitoring.connections(seldom)
        )
        self.listener = service.Listener(sockets, self.factory, self._site, purpose)

    def show(self, face: Face, lists: Lists, server: model.Server) -> None:
        """Show another face: pages from the next request on, TLS and limits from the next connection on.

        :raises OpenSSL.SSL.Error: its key and certificate do not belong together; the old face stays.
        """
        self._connections.replace(face.tls)
        # A revocation in hand goes on, and would bring the CRL of a CA that is gone back.
        for release in self._bound:
            release()
        self._bound = lists.bind(self._connections)
        self._site.serve(face.tree, _limits(server), face.tree.speaks_json)
        self.factory.overall, self.factory.per_address = server.max_connections, server.max_connections_per_address


def server_material(tls: model.Tls, ask: Ask | None) -> ServerMaterial:
    """Load what the EST listener's context is made of.

    :raises MaterialError: a file of it cannot be used.
    """
    clients = tls.client_auth
    anchors = material.all_certificates(clients.trust_anchors)
    names = {anchor.subject for anchor in anchors}
    return ServerMaterial(
        material.certificates(tls.cert),
        material.private_key(tls.key, tls.key_passphrase, ask),
        SSL.TLS1_3_VERSION if tls.min_version == "1.3" else SSL.TLS1_2_VERSION,
        ClientCertificates(clients.mode),
        anchors,
        tuple(crl for crl in crls(tls) if crl.issuer in names),  # others are for administrators
    )


def crls(tls: model.Tls) -> tuple[x509.CertificateRevocationList, ...]:
    """All CRLs of the configuration.

    :raises MaterialError: a file of them cannot be used.
    """
    return tuple(crl for path in tls.client_auth.crl for crl in material.crls(path))


def _limits(server: model.Server) -> Limits:
    return Limits(server.max_body_size, server.header_timeout, server.body_timeout, server.idle_timeout)


def _end(protocol: IProtocol) -> None:
    """End a connection over HTTP; the request that has begun is answered."""
    cast("LimitedChannel", protocol).last_request()


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
