"""The books of the CAs go by the CA's key instead of its id in the configuration, which may change.

What stood there before is dropped, for nothing in the database says which key it belongs to. No released kipuka has
written any.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables anew."""
    op.drop_table("certificates")
    op.drop_table("crls")
    op.create_table(
        "certificates",
        sa.Column("ca_key", sa.Text, primary_key=True),
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
        sa.Column("reason", sa.Integer),
    )
    op.create_index("certificates_revoked", "certificates", ["ca_key", "reason"])
    op.create_table(
        "crls",
        sa.Column("ca_key", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
    )
