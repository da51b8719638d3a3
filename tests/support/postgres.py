"""A throwaway PostgreSQL server from Debian's package, reached over a socket in a directory of its own.

    with postgres.Cluster() as cluster:
        url = cluster.database()

``fsync`` stays on: what these tests ask of the server is durability.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import requirements

LIMIT_SECONDS = 60


class PostgresError(AssertionError):
    """A command of the server failed; the text has what it said."""


def binaries() -> Path | None:
    """Where the newest installed server's programs are; None when there is none."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: int(re.sub(r"\D.*", "", path.parts[-3]) or 0), default=None)
    return None if newest is None else newest.parent


def needed() -> None:
    """Skip the test when there is no server to start."""
    if binaries() is None:
        requirements.lacking("no PostgreSQL server is installed: run tests/support/install-postgresql as root")


class Cluster:
    """The server's data, and the server while it runs. As root it runs as the package's user, since it must."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kipuka-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
        self._bin = binaries()
        self._numbers = count(1)

    def __enter__(self) -> Self:
        try:
            if os.geteuid() == 0:
                account = pwd.getpwnam("postgres")
                os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.folder.chmod(0o755)  # others connect to the socket
            self._run("initdb", "-D", self._data, "-U", "kipuka", "-A", "trust", "-E", "UTF8", "--locale=C")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_running():
            self.crash()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c max_connections=60"
        self._run("pg_ctl", "start", "-w", "-s", "-D", self._data, "-l", self.folder / "log", "-o", options)

    def crash(self) -> None:
        """End the server without letting it write anything, as if it had been killed."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-s", "-D", self._data)

    def database(self, *options: str) -> str:
        """Make an empty database and return its URL.

        :param options: for ``CREATE DATABASE``.
        """
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} {' '.join(options)}")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql:///{name}?host={self.folder}&user=kipuka"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return what psql prints of its answer."""
        return self._run(
            "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "kipuka", "-d", database, "-c", statement
        ).strip()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str | Path) -> str:
        assert self._bin is not None, "no PostgreSQL server is installed"
        words = [str(self._bin / program), *map(str, arguments)]
        if os.geteuid() == 0:
            words = ["runuser", "-u", "postgres", "--", *words]
        # Into a file: the server that pg_ctl leaves behind would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", timeout=LIMIT_SECONDS
            )
            output.seek(0)
            said = output.read()
        if done.returncode != 0:
            raise PostgresError(f"{program}: ended with {done.returncode}\n{said}")
        return said
