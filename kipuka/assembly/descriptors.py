"""Open files: each connection is one, and the process may have so many and no more.

Where they run out, the kernel decides who is turned away: good clients, the database, the way to the CA.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from contextlib import suppress

from twisted.logger import Logger

from kipuka.config import model

_log = Logger("kipuka")

RESERVE = 128
"""For all that is not a connection to a client or a CA: the database, the log, listening sockets, files that are read.
A daemon without clients has some thirty."""
_BESIDE = 8
"""Connections to a CA over its ``max_connections``: a probe, attempts under way, its KRA and TPS."""

Limit = tuple[int, int]
"""Soft and hard."""


def within_limits(
    config: model.Config,
    get: Callable[[int], Limit] = resource.getrlimit,
    change: Callable[[int, Limit], None] = resource.setrlimit,
) -> model.Server:
    """Make room for the connections that the configuration allows, or allow as many as there is room for.

    The soft limit is raised as far as needed; where the hard one is in the way, the log says so.

    :param get: reads the process's limits.
    :param change: sets them.
    :return: ``[server]``, perhaps with another ``max_connections``. It holds for each listener.
    """
    server = config.server
    listeners = 1 if config.admin_shares_port else 2
    # A reload has the connections of two generations for a while.
    others = RESERVE + sum(2 * (ca.max_connections + _BESIDE) for ca in config.ca if isinstance(ca, model.DogtagCa))
    limit = _raised(listeners * server.max_connections + others, get, change)
    room = max(limit - others, limit // 4) // listeners or 1
    if room >= server.max_connections:
        return server
    _log.warn(
        "this process may have {limit} open files: that is room for {room} connections on a port, and "
        "server.max_connections is {wanted}. Raise the limit (systemd: LimitNOFILE=), or lower max_connections",
        limit=limit,
        room=room,
        wanted=server.max_connections,
    )
    return server.model_copy(update={"max_connections": room})


def _raised(wanted: int, get: Callable[[int], Limit], change: Callable[[int, Limit], None]) -> int:
    """Raise the soft limit, if it is lower, as far as the hard one lets it; return what it is then."""
    soft, hard = get(resource.RLIMIT_NOFILE)
    aim = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= aim:
        return wanted if soft == resource.RLIM_INFINITY else soft
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        change(resource.RLIMIT_NOFILE, (aim, hard))
    return get(resource.RLIMIT_NOFILE)[0]
