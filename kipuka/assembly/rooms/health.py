"""What ``/health`` of a configuration says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from twisted.web.http import Request
from twisted.web.resource import IResource

from kipuka.access.credentials.tokens import Scope
from kipuka.config import model
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.web import health
from kipuka.web.admin.routing import Gate

Health = Mapping[str, Mapping[str, object]]

_UNKNOWN = "unknown"


def room(
    config: model.Config,
    cas: Callable[[], Health],
    ledger: Ledger,
    audit: Callable[[], Mapping[str, bool]],
    is_serving: Callable[[], bool],
    authorise: health.Authorise,
) -> IResource:
    """Build the room ``/health``.

    :param cas: how each CA is.
    :param audit: whether each place of the audit cannot be written just now.
    :param is_serving: whether every listener is open and none is about to close.
    :param authorise: see :func:`readers`.
    """

    def ready() -> list[str]:
        # What is not in the file, where there is one, is not issued. The database is the ledger's; syslog catches up.
        is_written, is_audited = ledger.is_written, not audit().get("file", False)
        return list(_reasons(config, cas(), is_written=is_written, is_audited=is_audited, is_serving=is_serving()))

    return health.HealthPages(cas, ready, authorise).resource()


def readers(config: model.Config, administrators: Gate) -> health.Authorise:
    """Who may read health and metrics."""

    async def administrator(request: Request) -> None:
        await administrators.admit(request, Scope.READ)

    return {"open": health.anybody, "loopback": health.loopback, "token": administrator}[config.admin.health]


def _reasons(
    config: model.Config, cas: Health, *, is_written: bool, is_audited: bool, is_serving: bool
) -> Iterator[str]:
    """Why requests cannot be served, one sentence each."""
    if not is_serving:
        yield "kipuka is starting or stopping."
    if not is_written:
        yield "The database of the ledger takes no entries."
    if not is_audited:
        yield "The file of the audit cannot be written."
    groups = {group.name: group.ca_ids for group in config.ha.group}
    local = {ca.id for ca in config.ca if isinstance(ca, model.FileCa)}
    for name in _used(config):
        found = {ca_id: cas.get(ca_id, {}) for ca_id in groups.get(name, (name,))}
        if any(_is_usable(each, is_local=ca_id in local) for ca_id, each in found.items()):
            continue
        statuses = {ca_id: str(each.get("status", _UNKNOWN)) for ca_id, each in found.items()}
        if set(statuses.values()) == {_UNKNOWN}:
            yield f"Whether {name} works is not known yet: it is asked within the next seconds."
        else:
            states = ", ".join(f"{ca_id} is {status}" for ca_id, status in statuses.items())
            yield f"No CA of {name} can be used: {states}."


def _used(config: model.Config) -> list[str]:
    """The CAs and groups that requests go to."""
    if not config.est.enabled:
        return []
    labels = [label.ca_id for label in config.est.label]
    return list(dict.fromkeys([*labels] if config.est.default_label else [config.default_ca, *labels]))


def _is_usable(health: Mapping[str, object], *, is_local: bool) -> bool:
    """Whether a CA works, by what stands in ``/health/ca``: one that has only failed since the start may never have.

    :param is_local: whether its key is in memory: without it kipuka would not have started.
    """
    status = health.get("status", _UNKNOWN)
    if is_local and status == _UNKNOWN:
        return True
    return status == "healthy" or (status == "degraded" and health.get("last_success") is not None)
