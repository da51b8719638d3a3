"""Bringing the tables of a database to what this kipuka knows."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from kipuka.store.database.engine import Database
from kipuka.store.errors import UnusableDatabase
from kipuka.store.schema import metadata

SCRIPTS = Path(__file__).parents[1] / "migrations"
VERSION_TABLE = "kipuka_schema"

_alembic = threading.Lock()
"""Alembic's context is global to the process."""


def bring_up_to_date(database: Database, *, upgrade: bool = True, scripts: Path = SCRIPTS) -> Path | None:
    """Make or upgrade the tables if that is due: all of it in one transaction, and by one process only.

    :param upgrade: False: refuse a database that is not up to date.
    :param scripts: the history of the tables.
    :returns: the copy that was made before an upgrade, if there is one.
    :raises StoreUnavailable: the database cannot be used, or not be copied.
    :raises UnusableDatabase: its tables are newer than this kipuka, or not kipuka's, or not to be upgraded.
    """
    history = ScriptDirectory(str(scripts))
    newest = str(history.get_current_head())
    with database.read() as connection:
        version = _version(connection, history, newest)
    if version == newest:
        return None
    if not upgrade:
        raise UnusableDatabase(
            f"the database's tables have version {version or 'none'} and this kipuka needs {newest}; "
            "start the daemon, which upgrades them"
        )
    with _alembic, database.write() as connection:
        database.guard_upgrade(connection)
        version = _version(connection, history, newest)  # another process may have been faster
        if version == newest:
            return None
        if version is None:
            _must_be_empty(connection)
        copy = None if version is None else database.back_up(version)
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.upgrade(config, newest)
    return copy


def versions(database: Database, scripts: Path = SCRIPTS) -> tuple[str | None, str]:
    """Return the version of the tables, None when there are none, and the one this kipuka needs. Changes nothing.

    :raises StoreUnavailable: the database cannot be used.
    :raises UnusableDatabase: its tables are newer than this kipuka.
    """
    history = ScriptDirectory(str(scripts))
    newest = str(history.get_current_head())
    with database.read() as connection:
        return _version(connection, history, newest), newest


def _version(connection: Connection, history: ScriptDirectory, newest: str) -> str | None:
    """The version of the tables; None when there are none.

    :raises UnusableDatabase: it is not one that we know.
    """
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    version = context.get_current_revision()
    if version is not None and version not in {each.revision for each in history.walk_revisions()}:
        raise UnusableDatabase(
            f"the database's tables have version {version} and this kipuka knows none after {newest}: "
            "run the newer kipuka, or restore the copy made before the upgrade"
        )
    return version


def _must_be_empty(connection: Connection) -> None:
    """Refuse tables of others under our names. Only to be asked by who alone may make tables: else they may be ours."""
    strangers = sorted(metadata.tables.keys() & inspect(connection).get_table_names())
    if strangers:
        raise UnusableDatabase(
            f"the database has a table {strangers[0]} that kipuka did not make; give kipuka a database of its own"
        )
