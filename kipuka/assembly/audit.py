"""Where the audit of a configuration goes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from kipuka.authority.pool import Status, Transition
from kipuka.authority.pool.breaker import Circuit
from kipuka.config import model
from kipuka.observe.audit.file import AuditFile
from kipuka.observe.audit.record import Audit, AuditEvent, Record
from kipuka.observe.audit.syslog import Syslog
from kipuka.observe.audit.trail import Trail
from kipuka.tls.server import RefusedCertificate


class Reactor(IReactorCore, IReactorTime, IReactorThreads):
    """What ledger and audit need of a reactor."""


def trail(
    config: model.Audit,
    reactor: Reactor,
    store: Callable[[Sequence[Record]], Deferred[Any]],
    failed: Callable[[], None],
) -> Trail:
    """Build it; nothing is opened yet.

    :param store: writes records into the database.
    :param failed: told of each attempt to write that failed.
    """
    node = socket.gethostname()
    pool = ThreadPool(minthreads=0, maxthreads=2, name="audit")  # one for the file, one for syslog
    reactor.callWhenRunning(pool.start)
    reactor.addSystemEventTrigger("after", "shutdown", pool.stop)
    syslog = config.syslog
    return Trail(
        reactor,
        node,
        store,
        lambda work: deferToThreadPool(reactor, pool, work),
        None if config.file is None else AuditFile(config.file),
        None if syslog is None else Syslog(syslog.transport, syslog.host, syslog.port, node),
        failed,
    )


def audit_health(audit: Audit) -> Callable[[Transition], None]:
    """Make what records that a CA went away or came back; or, after the first call, that it is there or is not well."""

    def note(transition: Transition) -> None:
        trouble = transition.trouble
        # The first call ever closes the circuit, also when it fails: "closed" would read as "all is well".
        is_degraded = transition.after is Circuit.CLOSED and trouble is not None
        audit(
            Record(
                event=AuditEvent.CA_STATE,
                ca=transition.ca_id,
                outcome=Status.DEGRADED.value if is_degraded else transition.after.value,
                kind=None if trouble is None else trouble.kind.value,
                reason=None if trouble is None else trouble.text,
            )
        )

    return note


def audit_refused(audit: Audit) -> Callable[[RefusedCertificate], None]:
    """Make what records a client certificate that was refused in the handshake."""

    def note(refused: RefusedCertificate) -> None:
        audit(
            Record(
                event=AuditEvent.CERTIFICATE_REFUSED,
                address=refused.address,
                tls=refused.protocol,
                subject=refused.subject,
                serial=f"0x{refused.serial:x}",
                outcome="refused",
                reason=refused.reason,
                errno=refused.errno,
                depth=refused.depth,
            )
        )

    return note
