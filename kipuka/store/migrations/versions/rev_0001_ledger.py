"""The ledger of enrollments, leases of work that one process does, and signs of life."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    is_open = sa.text("state <> 'closed'")
    op.create_table(
        "enrollments",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("ca_id", sa.Text, nullable=False),
        sa.Column("profile", sa.Text),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("process", sa.Text),
        sa.Column("submitted", sa.BigInteger),
        sa.Column("absent_since", sa.BigInteger),
        sa.Column("request_id", sa.Text),
        sa.Column("serial", sa.Text),
        sa.Column("certificate", sa.LargeBinary),
        sa.Column("reason", sa.Text),
        sa.Column("delivered", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "enrollments_open_key", "enrollments", ["key"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_index("enrollments_state", "enrollments", ["state", "ca_id"])
    op.create_index("enrollments_updated", "enrollments", ["updated"])
    op.create_index("enrollments_public_key", "enrollments", ["public_key"])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "processes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )
