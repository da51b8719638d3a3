"""The admin API of a configuration: who may use it, what it shows, and where it listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.resource import IResource

from kipuka.access.credentials.token_file import TokenFile
from kipuka.access.pattern import Pattern
from kipuka.assembly.audit import Reactor
from kipuka.assembly.listener import crls
from kipuka.assembly.rolls import Roll
from kipuka.config import model
from kipuka.config.administrators import makers, own_makers
from kipuka.config.material import MaterialError, all_certificates
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.records import Records
from kipuka.errors import Kind, RequestError
from kipuka.observe.audit.record import Audit, AuditEvent
from kipuka.store.audit import Filters
from kipuka.store.errors import StoreUnavailable
from kipuka.tls.contexts import ClientCertificates, ServerMaterial
from kipuka.web.admin.api import AdminApi
from kipuka.web.admin.backend import AuditFilters, AuditPages, Revocation, Standings
from kipuka.web.admin.door import CertificateRule, Door
from kipuka.web.admin.routing import Gate
from kipuka.web.http.nothing import Nothing

_log = Logger("kipuka.admin")

Health = Callable[[], Mapping[str, Mapping[str, object]]]
"""How each CA is, by id."""

_OFF = "The admin API is off: the server's configuration names neither admin.tokens nor admin.trust_anchors."


def token_file(config: model.Config, reactor: Reactor, changed: Callable[[Roll], None]) -> TokenFile | None:
    """Follow the file of tokens, if there is one.

    :param changed: told who has a token when that is found to have changed.
    """
    path = config.admin.tokens
    if path is None:
        return None
    return TokenFile(
        path, lambda text: _log.warn("{text}", text=text), lambda roll: reactor.callFromThread(changed, roll)
    )


def token_roll(tokens: TokenFile | None) -> Roll:
    """Say who has a token now.

    :raises MaterialError: the file cannot be used.
    """
    try:
        return {} if tokens is None else tokens.roll()
    except RequestError as error:
        raise MaterialError(error.cause) from None


def gate(config: model.Config, reactor: Reactor, audit: Audit, tokens: TokenFile | None) -> Gate:
    """Build what lets administrators through, also to the health and the metrics where these take a token.

    :raises MaterialError: a trust anchor cannot be read.
    """
    for ca_id in own_makers(config):  # those without admin.subjects were refused
        _log.warn(
            'whoever gets a certificate of the CA "{ca}" whose subject fits admin.subjects is an administrator: let no '
            "label give such a subject away",
            ca=ca_id,
        )
    patterns = config.admin.subjects
    subjects = None if patterns is None else [Pattern(each, ()) for each in patterns]
    door = Door(
        tokens,
        CertificateRule(makers(config), subjects),
        lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work),
        reactor,
    )
    return Gate(door, config.est.retry_after, audit)


def room(
    config: model.Config,
    gate: Gate,
    records: Records,
    standings: Standings,
    health: Health = dict,
    audit: AuditPages | None = None,
    revocation: Revocation | None = None,
) -> IResource:
    """Build the room ``/admin``."""
    if not config.admin.is_on:
        return Nothing(_OFF)
    return AdminApi(gate, records, Described(config, health), standings, audit, revocation).resource()


def own_material(config: model.Config, est: ServerMaterial) -> ServerMaterial:
    """What the TLS of a listener of its own is made of: the EST listener's certificate, the administrators' CAs.

    Those CRLs of tls.client_auth.crl count that are of these CAs. When there is one, each of the CAs needs one.

    :raises MaterialError: a file cannot be read.
    """
    above = all_certificates(config.admin.trust_anchors)
    names = {anchor.subject for anchor in above}
    return replace(
        est,
        clients=ClientCertificates.OPTIONAL if above else ClientCertificates.NONE,
        trust_anchors=above,
        crls=tuple(crl for crl in crls(config.tls) if crl.issuer in names),
    )


class AuditRecords:
    """The audit as the ledger's database has it: a :class:`kipuka.web.admin.backend.AuditPages`."""

    events = tuple(event.value for event in AuditEvent)

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(
        self, *, before: int | None, limit: int, **filters: Unpack[AuditFilters]
    ) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """Records, newest first.

        :raises RequestError: BUSY.
        """
        event = filters.get("event")
        wanted = Filters(
            events=None if event is None else [AuditEvent(event)],
            ca_id=filters.get("ca_id"),
            label=filters.get("label"),
            who=filters.get("who"),
            since=filters.get("since"),
            until=filters.get("until"),
        )
        try:
            found = await self._ledger.run(lambda: self._ledger.store.audit.page(before, limit, **wanted))
        except StoreUnavailable as trouble:
            raise RequestError(
                Kind.BUSY, "The audit cannot be asked at the moment: try again later.", str(trouble)
            ) from trouble
        return [(entry.seq, entry.facts) for entry in found]


class Described:
    """The CAs and groups of a configuration as the API shows them.

    :param health: how each CA is, by id.
    """

    def __init__(self, config: model.Config, health: Health) -> None:
        self._config = config
        self._health = health

    def describe(self) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        """CAs and groups."""
        health = self._health()
        groups = self._config.ha.group if self._config.ha.enabled else ()
        return [self._ca(ca, health.get(ca.id)) for ca in self._config.ca], [self._group(group) for group in groups]

    def _ca(self, ca: model.Ca, health: Mapping[str, object] | None) -> dict[str, Any]:
        url, profile = (ca.url, ca.profile) if isinstance(ca, model.DogtagCa) else (None, None)
        return {
            "id": ca.id,
            "type": ca.type,
            "display_name": ca.display_name,
            "url": url,
            "profile": profile,
            "health": None if health is None else dict(health),
            **self._used(ca.id),
        }

    def _group(self, group: model.HaGroup) -> dict[str, Any]:
        return {
            "name": group.name,
            "members": list(group.ca_ids),
            "load_balancing": group.load_balancing,
            **self._used(group.name),
        }

    def _used(self, target: str) -> dict[str, Any]:
        """Whether it is behind the paths without a label, and which labels it is behind."""
        labels = [label.name for label in self._config.est.label if label.ca_id == target]
        strict = self._config.est.default_label
        is_default = strict in labels if strict is not None else target == self._config.default_ca
        return {"default": is_default, "labels": labels}
