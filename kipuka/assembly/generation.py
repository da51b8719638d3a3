"""All that is built from one configuration and goes with it: CAs, labels, who may come in, and the pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.threads import deferToThreadPool

from kipuka.assembly import monitoring
from kipuka.assembly.audit import audit_health
from kipuka.assembly.cas.authorities import authority, beside
from kipuka.assembly.cas.chains import KeptChains
from kipuka.assembly.cas.pools import Pools, pools
from kipuka.assembly.cas.revocation import Books, ForAdministrators, Lists
from kipuka.assembly.enrollment import Office
from kipuka.assembly.foundation import Ask, Foundation
from kipuka.assembly.labels import labels, user_file
from kipuka.assembly.listener import Face, server_material
from kipuka.assembly.rolls import Roll
from kipuka.assembly.rooms import admin, health
from kipuka.config import model
from kipuka.enrollment.desk import Shift
from kipuka.observe.metrics import Names
from kipuka.web.est.authentication import Passwords
from kipuka.web.est.operations import EstOperations
from kipuka.web.est.routing import Gate
from kipuka.web.http.nothing import Nothing
from kipuka.web.http.tree import Tree
from kipuka.web.metrics import MetricsPage


@dataclass(frozen=True)
class Generation:
    """What serves one configuration.

    :param faces: what each listener shows: EST's, and the administrators' where they have one of their own.
    :param rolls: who has credentials, by what these are.
    """

    config: model.Config
    faces: Sequence[Face]
    shift: Shift
    pools: Pools
    lists: Lists
    names: Names
    rolls: Mapping[str, Roll]


def generation(
    config: model.Config,
    base: Foundation,
    ask: Ask | None,
    is_serving: Callable[[], bool],
    before: Pools | None = None,
) -> Generation:
    """Build it; nothing is sent and nobody is served yet.

    :param is_serving: whether every listener is open and none is about to close.
    :param before: the CAs of the generation before; what is known of their health stays known.
    :raises MaterialError: a file of it cannot be used.
    """
    reactor, ledger, metrics, audit = base.reactor, base.ledger, base.metrics, base.trail.note
    kept = KeptChains(ledger)
    cas = {ca.id: authority(ca, reactor, ask, ledger, metrics.called, kept) for ca in config.ca}
    lists = Lists(cas.values())
    others = {ca.id: beside(ca, reactor, ask) for ca in config.ca}
    grouped = pools(config, cas, others, reactor, audit_health(audit), before)
    office = Office(config, ledger, cas, grouped, lists, reactor)
    users = user_file(config, reactor, lambda roll: base.rolls.see({"users": roll}))
    passwords = Passwords(
        users,
        monitoring.passwords(metrics, lambda check: deferToThreadPool(reactor, reactor.getThreadPool(), check)),
    )
    gate = Gate(labels(config, office.registration, users), passwords, config.est.retry_after, audit, metrics.began)
    est = EstOperations(gate, config.est.retry_after).resource()
    tokens = admin.token_file(config, reactor, lambda roll: base.rolls.see({"tokens": roll}))
    administrators = admin.gate(config, reactor, audit, tokens)
    readers = health.readers(config, administrators)
    revocation = ForAdministrators(office.revocation)
    # What is not EST is where the admin API is, but for the CRLs: they are for whoever meets a certificate.
    rooms = {
        b"admin": admin.room(
            config,
            administrators,
            office.records,
            Books(cas.values()),
            grouped.as_json,
            admin.AuditRecords(ledger),
            revocation,
        ),
        b"health": health.room(config, grouped.as_json, ledger, base.trail.failing, is_serving, readers),
        b"metrics": MetricsPage(metrics.exposition, base.counts.refresh, readers).resource(),
    }
    tls = server_material(config.tls, ask)
    elsewhere = Nothing("There is nothing here: the admin API, health and metrics are at the admin port.")
    shown = rooms if config.admin_shares_port else dict.fromkeys(rooms, elsewhere)
    faces = [Face(Tree(est, {b"crl": lists.room(), **shown}), tls)]
    if not config.admin_shares_port:
        nothing = Nothing("There is nothing here: EST is at another port, and the admin API below /admin.")
        faces.append(Face(Tree(nothing, rooms), admin.own_material(config, tls)))
    rolls = {"users": {} if users is None else users.roll, "tokens": admin.token_roll(tokens)}
    return Generation(config, faces, office.shift, grouped, lists, monitoring.names(config), rolls)
