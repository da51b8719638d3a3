"""The users file as a running daemon follows it: who is added gets in at the next request, and who is removed does not.

A file that cannot be used changes nothing: a slip of the pen must not lock every device out. (Of the tokens, which are
few and powerful, the opposite holds: :mod:`kipuka.access.credentials.token_file`.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock

from kipuka.access.credentials.followed import Followed
from kipuka.access.credentials.users import Users, UsersFileError

MOST_BYTES = 64 * 1024 * 1024


class UserFile:
    """Verifies passwords. May be used from any thread.

    :param warn: told what is wrong with a changed file, once for each fault.
    :param changed: told who is in the file, by :attr:`Users.roll`, before the first use of a file that has changed.
    :raises OSError: the file cannot be read; UnicodeDecodeError, UsersFileError: it cannot be used.
    """

    def __init__(
        self, path: Path, warn: Callable[[str], None], changed: Callable[[Mapping[str, str]], None] = lambda _: None
    ) -> None:
        self._path = path
        self._warn = warn
        self._changed = changed
        self._lock = Lock()
        self._file = Followed(path, Users.parse, MOST_BYTES)
        self._users = self._file.current()
        self._trouble = ""

    @property
    def roll(self) -> Mapping[str, str]:
        """Who was in the file when it was last used: :attr:`Users.roll`."""
        return self._users.roll

    def verify(self, name: str, password: str) -> None:
        """Let the user in; see :meth:`Users.verify`.

        :raises RequestError: UNAUTHENTICATED.
        """
        self._current().verify(name, password)

    def _current(self) -> Users:
        with self._lock:
            try:
                users = self._file.current()
            except (OSError, UnicodeDecodeError, UsersFileError) as error:
                trouble = "; ".join(error.faults) if isinstance(error, UsersFileError) else str(error)
                if trouble != self._trouble:
                    self._trouble = trouble
                    self._warn(f"{self._path} cannot be used, and the users it had before stay: {trouble}")
                return self._users
            self._trouble = ""
            if users is not self._users:
                self._users = users
                self._changed(users.roll)
            return users
