"""What is to be known of a request whose answer was lost.

That is the certificate it renews, which is never what is looked for, and the request that the CA had in progress. Of
requests that are under way at the upgrade neither is known; they are looked up as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("enrollments", sa.Column("renews", sa.Text))
    op.add_column("enrollments", sa.Column("unfinished", sa.Text))
