"""The CAs' certificates, kept for a start without the CAs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ca_chains",
        sa.Column("ca_id", sa.Text, primary_key=True),
        sa.Column("chain", sa.Text, nullable=False),
        sa.Column("fetched", sa.BigInteger, nullable=False),
    )
