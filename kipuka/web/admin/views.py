"""What the admin API shows of a row of the ledger and of a certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.enrollment.ledger.records import Enrollment
from kipuka.web.admin.backend import Standing


def time(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def enrollment(row: Enrollment) -> dict[str, Any]:
    """A row; the key it is found by and the process that works on it are kipuka's own business."""
    wanted = row.application
    return {
        "id": row.id,
        "state": row.state.value,
        "caller": wanted.caller,
        "operation": wanted.operation,
        "label": wanted.label,
        "ca_id": wanted.ca_id,
        "profile": wanted.profile,
        "subject": wanted.subject,
        "public_key": wanted.public_key,
        "request_id": row.request_id,
        "serial": row.serial,
        "reason": row.reason,
        "created": time(row.created),
        "submitted": time(row.submitted),
        "delivered": time(row.delivered),
        "updated": time(row.updated),
    }


def certificate(row: Enrollment, found: x509.Certificate, standing: Standing, *, whole: bool = False) -> dict[str, Any]:
    """The certificate of a row that has one.

    :param found: the certificate.
    :param whole: with the certificate itself, in PEM.
    """
    view = {
        "serial": f"0x{found.serial_number:x}",
        "ca_id": row.application.ca_id,
        "subject": _name(found, "subject"),
        "issuer": _name(found, "issuer"),
        "not_before": time(found.not_valid_before_utc),
        "not_after": time(found.not_valid_after_utc),
        "sha256": found.fingerprint(hashes.SHA256()).hex(),
        "enrollment": row.id,
        "caller": row.application.caller,
        "label": row.application.label,
        "delivered": time(row.delivered),
        "status": standing.status,
        "revoked": time(standing.revoked),
        "revocation_reason": standing.reason,
    }
    return view | {"pem": found.public_bytes(Encoding.PEM).decode()} if whole else view


def _name(found: x509.Certificate, which: str) -> str | None:
    """RFC 4514; None for a name that OpenSSL issues and cryptography does not read."""
    try:
        name: x509.Name = getattr(found, which)
        return name.rfc4514_string()
    except ValueError:
        return None
