"""What the ledger remembers of an enrollment, and the states it can be in. No database here, no decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class State(Enum):
    """How an enrollment stands. The value is what the database holds."""

    RECEIVED = "received"
    """Written down; nothing of it is at a CA. The next to ask for it may submit it."""
    SUBMITTING = "submitting"
    """A process is about to send it, or has: only that process knows more."""
    UNKNOWN = "unknown"
    """It was sent and the answer was lost: the CA must be asked what became of it."""
    PENDING = "pending"
    """The CA has it and waits for an agent."""
    ISSUED = "issued"
    """There is a certificate, and it was never written out to its client."""
    DELIVERED = "delivered"
    """The certificate was written out; the same request gets it again for a while."""
    REJECTED = "rejected"
    """The CA or an agent said no, and the client has not been told yet."""
    CLOSED = "closed"
    """Over: told, delivered long ago, or abandoned. The same request asked again is a new enrollment."""


OPEN = frozenset(State) - {State.CLOSED}
"""States in which a second request with the same key joins the row. At most one such row exists for a key."""


@dataclass(frozen=True)
class Application:
    """What identifies and describes an enrollment when it is first written down.

    :param key: the request's identity, 64 hex digits: caller, operation, label, public key and names.
    :param caller: who asked, as the audit names them.
    :param public_key: SHA-256 of the SubjectPublicKeyInfo, hex: how a lost certificate is found again.
    :param subject: the subject asked for, RFC 4514.
    """

    key: str
    caller: str
    operation: str
    label: str | None
    ca_id: str
    profile: str | None
    public_key: str
    subject: str


@dataclass(frozen=True)
class Enrollment:
    """One row of the ledger. Times are aware, in UTC.

    :param process: the process that submits or submitted it.
    :param submitted: when it last became SUBMITTING.
    :param absent_since: while UNKNOWN: since when every look-up at the CA, without a failing one, found nothing.
    :param request_id: the CA's number of the request.
    :param certificate: DER, once issued.
    :param not_after: when the certificate expires.
    :param renews: the serial number of the certificate that its latest submission is to renew.
    :param unfinished: the CA's number of a request with this key that it had in progress when the lost answer was last
        looked for; it may be another row's.
    :param reason: why it was rejected, or what is known of a trouble; safe for the client.
    """

    id: int
    application: Application
    state: State
    created: datetime
    updated: datetime
    process: str | None = None
    submitted: datetime | None = None
    absent_since: datetime | None = None
    request_id: str | None = None
    serial: str | None = None
    certificate: bytes | None = None
    reason: str | None = None
    delivered: datetime | None = None
    not_after: datetime | None = None
    renews: str | None = None
    unfinished: str | None = None
