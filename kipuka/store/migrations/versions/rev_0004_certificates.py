"""What the CAs whose keys kipuka holds have issued and revoked, and their CRLs; enrollments by serial number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "certificates",
        sa.Column("ca_id", sa.Text, primary_key=True),
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
        sa.Column("reason", sa.Integer),
    )
    op.create_index("certificates_revoked", "certificates", ["ca_id", "reason"])
    op.create_table(
        "crls",
        sa.Column("ca_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
    )
    op.create_index("enrollments_serial", "enrollments", ["serial"])
