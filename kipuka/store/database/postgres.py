"""The store in PostgreSQL, for several nodes. Connections the server has closed are replaced before they are used."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.dialects.postgresql import insert

from kipuka.store.database.engine import SECONDS, Database
from kipuka.store.errors import UnusableDatabase

_DEFAULTS: dict[str, Any] = {
    "application_name": "kipuka",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": SECONDS * 1000,
}
"""A server that has vanished is noticed in seconds, not when TCP gives up."""

_SESSION = f"""
    SELECT set_config('statement_timeout', '{SECONDS}s', false),
           set_config('lock_timeout', '{SECONDS // 2}s', false),
           set_config('idle_in_transaction_session_timeout', '{SECONDS}s', false),
           set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false),
           current_setting('server_encoding')
"""
"""Limits; and a commit is on the server's disk before it is confirmed, whatever the server's default."""

_UPGRADE_LOCK = 0x6B6970756B61
"""A number nobody else is likely to take an advisory lock on: "kipuka" in ASCII."""


class PostgresDatabase(Database):
    """A database of a PostgreSQL server.

    :param url: read by libpq, with all of its parameters (``sslmode``, ``passfile``, several hosts, ...).
    :raises UnusableDatabase: libpq cannot read the URL.
    """

    insert = staticmethod(insert)

    def __init__(self, url: str, *, connections: int) -> None:
        given = _read(url)
        self._parameters: dict[str, Any] = {**_DEFAULTS, **given, "client_encoding": "UTF8"}
        self._password = str(given.get("password") or "")
        engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=SECONDS,
            hide_parameters=True,
        )
        # Always synchronised: the server may fail alone, and what it forgets is still in the hands of this process.
        super().__init__(engine, engine.execution_options(isolation_level="AUTOCOMMIT"), engine, engine)

    def guard_upgrade(self, connection: Connection) -> None:
        """Take an advisory lock, waiting for whoever upgrades already."""
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = '5min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})

    def back_up(self, version: str) -> None:
        """Left to the operator, who has pg_dump; an upgrade that fails leaves everything as it was."""

    def describe(self, trouble: str) -> str:
        """Say it without the password, should the server or libpq ever repeat it."""
        if self._password:
            trouble = re.sub(re.escape(self._password), "***", trouble)
        return f"the database server cannot be used: {trouble}"

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = psycopg.connect(**self._parameters, autocommit=True)
        try:
            row = connection.execute(_SESSION).fetchone()
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        if row is not None and row[-1] != "UTF8":
            connection.close()
            raise UnusableDatabase(
                f"the PostgreSQL database has the encoding {row[-1]}; make one for kipuka: "
                "createdb --encoding=UTF8 --template=template0 kipuka"
            )
        return connection


def _read(url: str) -> dict[str, Any]:
    """Take the URL apart as libpq does. What libpq says of a bad one repeats parts of it, perhaps of a password."""
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parameters = None
    if parameters is None or not re.fullmatch(r"[0-9,]*", str(parameters.get("port") or "")):
        raise UnusableDatabase(
            "libpq cannot read the database's URL; see \"Connection URIs\" in PostgreSQL's manual, "
            "and write @ / ? # and % of a password as %40 %2F %3F %23 %25"
        )
    return parameters
