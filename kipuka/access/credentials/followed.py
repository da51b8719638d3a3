"""A small file that people change while the daemon goes by it: read again whenever it has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Followed(Generic[T]):
    """What a file says now. Blocks for the reading of it; to be called by one thread at a time.

    :param parse: makes something of the text.
    :param most: bytes; a larger file is not read.
    """

    def __init__(self, path: Path, parse: Callable[[str], T], most: int) -> None:
        self._path = path
        self._parse = parse
        self._most = most
        self._read: tuple[tuple[int, ...], T] | None = None

    def current(self) -> T:
        """Return what it says: the same object for as long as the file is the same.

        :raises OSError: it cannot be read, or is too large.
        :raises UnicodeDecodeError: it is not UTF-8 text. What ``parse`` raises comes through, too.
        """
        status = self._path.stat()
        state = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._read is None or self._read[0] != state:
            self._read = (state, self._parse(self._text()))
        return self._read[1]

    def _text(self) -> str:
        with self._path.open("rb") as file:
            data = file.read(self._most + 1)
        if len(data) > self._most:
            raise OSError(0, f"larger than {self._most} bytes")
        return data.decode("utf-8")
