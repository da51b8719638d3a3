"""What Alembic runs to upgrade: on the connection and in the transaction of :mod:`kipuka.store.database.upgrade`."""

from __future__ import annotations

from alembic import context

from kipuka.store.schema import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    version_table=attributes["version_table"],
    transactional_ddl=True,
)
context.run_migrations()
