"""Which certificate a request renews: it is never what is looked for when the answer was lost.

Of requests that are under way at the upgrade it is not known; they are looked up as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column."""
    op.add_column("enrollments", sa.Column("renews", sa.Text))
