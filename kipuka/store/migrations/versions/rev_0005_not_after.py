"""When a certificate expires that nobody came for: its row is closed then."""

from __future__ import annotations

from contextlib import suppress

import sqlalchemy as sa
from alembic import op
from cryptography import x509

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column, and read the times out of the certificates that nobody has come for so far."""
    op.add_column("enrollments", sa.Column("not_after", sa.BigInteger))
    row = sa.table("enrollments", *map(sa.column, ("id", "state", "certificate", "not_after")))
    connection = op.get_bind()
    waiting = sa.select(row.c.id).where(row.c.state == "issued", row.c.certificate.is_not(None))
    for number in connection.execute(waiting).scalars().all():
        certificate = connection.execute(sa.select(row.c.certificate).where(row.c.id == number)).scalar_one()
        with suppress(ValueError):  # what cannot be read keeps no kipuka from starting, and its row stays open
            seconds = int(x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp())
            connection.execute(sa.update(row).where(row.c.id == number).values(not_after=seconds * 1_000_000))
