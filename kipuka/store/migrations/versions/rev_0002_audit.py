"""The audit: its chain of records, and the end of the chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables, and the end of an empty chain."""
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("ca_id", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("caller", sa.Text),
        sa.Column("line", sa.Text, nullable=False),
    )
    op.create_index("audit_time", "audit", ["time"])
    end = op.create_table(
        "audit_end",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.bulk_insert(end, [{"id": 1, "seq": 0, "hash": "0" * 64}])
