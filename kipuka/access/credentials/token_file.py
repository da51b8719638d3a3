"""The tokens file as a running daemon follows it, and beside it the times at which tokens were last used.

The tokens file is read again whenever it has changed, so that a token that was removed is good for nothing from the
next request on. The daemon never writes it. When tokens were used stands in ``FILE.used``, a line ``NAME TIME`` for
each; it is written at most once a minute for a token, and nothing depends on it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from kipuka.access.credentials.followed import Followed
from kipuka.access.credentials.tokens import Token, Tokens, TokensFileError, read_time, time_text
from kipuka.errors import Kind, RequestError

MOST_BYTES = 1024 * 1024
PRECISION = timedelta(minutes=1)
"""How exact the time of the last use is."""


class TokenFile:
    """Verifies tokens. Methods block for the reading of a small file; they may be called from any thread.

    :param warn: told, once each, what is wrong with writing down last uses.
    :param changed: told who has a token, by :attr:`Tokens.roll`, before the first use of a file that has changed.
    """

    def __init__(
        self, path: Path, warn: Callable[[str], None], changed: Callable[[Mapping[str, str]], None] = lambda _: None
    ) -> None:
        self._path = path
        self._file = Followed(path, Tokens.parse, MOST_BYTES)
        self._warn = warn
        self._changed = changed
        self._lock = Lock()
        self._told: Tokens | None = None
        self._written: dict[str, datetime] = {}
        self._warned = False

    def verify(self, presented: str, now: datetime) -> Token:
        """Return the token that was presented, and note that it was used.

        :raises RequestError: UNAUTHENTICATED, or INTERNAL when the file cannot be used: then nobody gets in, for a
            token may have been removed from it.
        """
        with self._lock:
            tokens = self._current()
            if self._told is not tokens:
                self._told = tokens
                self._changed(tokens.roll)
            token = tokens.verify(presented)
            last = self._written.get(token.name)
            if last is None or now - last >= PRECISION:
                self._written[token.name] = now
                self._note(token, now)
        return token

    def roll(self) -> Mapping[str, str]:
        """Who has a token now: :attr:`Tokens.roll`.

        :raises RequestError: INTERNAL.
        """
        with self._lock:
            self._told = self._current()
            return self._told.roll

    def _current(self) -> Tokens:
        try:
            return self._file.current()
        except (OSError, UnicodeDecodeError, TokensFileError) as error:
            raise RequestError(
                Kind.INTERNAL,
                "The file of tokens cannot be used: tell kipuka's administrator, whose log says why.",
                f"{self._path}: {error}",
            ) from None

    def _note(self, token: Token, now: datetime) -> None:
        try:
            write_use(uses_of(self._path), token.name, now)
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._warn(
                    f"when tokens were used is not written down: {uses_of(self._path)}: {error.strerror};"
                    " make the file, owned by the user kipuka runs as"
                )


def uses_of(path: Path) -> Path:
    """The file of last uses that belongs to a tokens file."""
    path = path.resolve()
    return path.with_name(f"{path.name}.used")


def read_uses(path: Path) -> dict[str, datetime]:
    """When each token was last used; empty when there is no such file yet. Lines that say nothing are skipped.

    :raises OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return _uses(file.read(MOST_BYTES))
    except FileNotFoundError:
        return {}


def write_use(path: Path, name: str, now: datetime) -> None:
    """Write down that a token was used, unless another process wrote a later time.

    In place: the daemon may write this file, but perhaps not the directory it lies in.

    :raises OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        uses = _uses(file.read(MOST_BYTES))
        uses[name] = max(now, uses.get(name, now))
        file.seek(0)
        file.write("".join(f"{each} {time_text(time)}\n" for each, time in uses.items()).encode())
        file.truncate()


def _uses(data: bytes) -> dict[str, datetime]:
    uses = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, _, time = line.partition(" ")
        try:
            uses[name] = read_time(time)
        except ValueError:
            continue
    return uses
