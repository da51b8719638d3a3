"""A chain of audit records in a file: JSON lines, on disk when :meth:`AuditFile.append` returns.

The file may be moved away at any time (logrotate): the next record begins a new one, and names the last of the old one.
It may also be shared by processes of one machine: who writes holds a lock, and goes on from what another has written.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kipuka.observe.audit.chain import BEGINNING, Broken, Link, read, seal
from kipuka.observe.audit.record import LARGEST, Record

_LONGEST = 8 * LARGEST
"""Bytes in which the last line of a file is looked for."""
_PATIENCE, _PAUSE = 5.0, 0.01
"""Seconds that another process may take to write, and between two looks whether it has."""
_BEGIN = b'{"seq": '
_PACKED = {".gz", ".xz", ".bz2", ".zst"}


class AuditUnavailable(Exception):  # noqa: N818 - a state of affairs, as its users say it
    """The audit cannot be written at the moment. The text is for the log and the operator."""


class AuditFile:
    """Appends to one file. Blocking; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._size = 0
        self._last: Link | None = None  # what this process wrote last, whatever became of the file since
        self._written: os.stat_result | None = None  # the file it wrote that to
        self._is_deleted = False  # that file, though nobody had moved it away
        self._changes: list[str] = []

    def append(self, records: Sequence[Record]) -> list[str]:
        """Write records and wait until they are on disk; all of them, or none.

        :return: the lines, without their ends.
        :raises AuditUnavailable: nothing was written.
        """
        try:
            descriptor = self._opened()
            with _locked(descriptor):
                last, change = self._end(descriptor)
                lines = []
                for record in records:
                    line, last = seal(record, last)
                    lines.append(line)
                self._write(descriptor, "".join(f"{line}\n" for line in lines).encode("ascii"))
        except OSError as error:
            self.close()
            raise AuditUnavailable(f"{self.path} cannot be written: {error.strerror or error}") from error
        except Broken as broken:
            self.close()
            raise _refused(self.path, broken) from broken
        self._last, self._written, self._is_deleted = last, os.fstat(descriptor), False
        self._changes += [] if change is None else [change]
        return lines

    def changes(self) -> list[str]:
        """What others did to the records of this process, as far as it was noticed since this was asked last."""
        found, self._changes = self._changes, []
        return found

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        """The file of this name, which need not be the one that had it a moment ago."""
        if self._descriptor is not None:
            status = os.fstat(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(self.path.stat(), status):
                    return self._descriptor
            self._is_deleted = status.st_nlink == 0
            self.close()
        # Not blocking: what is no file should fail, and not hang.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            self._descriptor = os.open(self.path, flags | os.O_CREAT, 0o600)
            _sync(self.path.parent)
        self._size = -1  # to be looked at
        return self._descriptor

    def _end(self, descriptor: int) -> tuple[Link, str | None]:
        """What the next record goes on from, and what was done to the file since this process wrote to it.

        A file that was cut short behind our back does not lead us back with it: the gap is there for who verifies.
        """
        size = os.fstat(descriptor).st_size
        if self._last is not None and size == self._size:
            return self._last, None
        found, self._size = _sound_end(descriptor)
        if self._size < size:
            os.ftruncate(descriptor, self._size)
        change = self._change(descriptor, found)
        if found is None:
            found = self._rotated()
        last = max(filter(None, (found, self._last)), key=lambda link: link.seq, default=BEGINNING)
        return last, change

    def _change(self, descriptor: int, found: Link | None) -> str | None:
        """Say what others did that they should not: to move the file away and to add to the chain is allowed.

        :param found: the last record in the file.
        """
        last = self._last
        if last is None or self._written is None:
            return None
        # Packed (delaycompress) is deleted too, but then a file after it, begun by another process, goes on from it.
        if self._is_deleted and not _leads_past(self._rotated(), last):
            return f"{self.path} was deleted; its last record was {last.seq}"
        if found is None:  # a new file may get the number that a deleted one had
            is_same = not self._is_deleted and os.path.samestat(os.fstat(descriptor), self._written)
            return f"{self.path} was emptied; its last record was {last.seq}" if is_same else None
        if found.seq < last.seq:
            return f"{self.path} was cut short or exchanged; its last record was {last.seq}, and is {found.seq} now"
        if found.seq == last.seq and found != last:
            return f"{self.path} was exchanged; it has another record {last.seq} than was written to it"
        return None

    def _rotated(self) -> Link | None:
        """The end of the file that had this name before: another process may have written to it last."""
        found: list[tuple[float, int, Path]] = []
        for each in self.path.parent.glob(f"{_quoted(self.path.name)}[.-]*"):
            with contextlib.suppress(OSError):  # it may be packed at this moment
                status = each.stat()
                if each.suffix not in _PACKED and stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime, status.st_size, each))
        for _, size, file in sorted(found, reverse=True):
            try:
                with file.open("rb") as opened:
                    link = _last_of(opened.fileno(), size)
            except Broken as broken:
                link = broken.link  # None: no record at all, so another kind of file, a checksum say
            except OSError:
                continue
            if link is not None:
                return link
        return None

    def _write(self, descriptor: int, data: bytes) -> None:
        before = os.fstat(descriptor).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # no half of a record stays; if that fails, the next to open sees to it
                os.ftruncate(descriptor, before)
            raise
        self._size = before + len(data)


def check_end(path: Path) -> None:
    """See whether records can go on from what is in a file, which stays as it is.

    :raises AuditUnavailable: they cannot.
    :raises OSError: it cannot be read.
    """
    with path.open("rb") as opened:
        try:
            _sound_end(opened.fileno())
        except Broken as broken:
            raise _refused(path, broken) from broken


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(f"another process has kept it locked for {_PATIENCE:.0f} seconds") from None
            time.sleep(_PAUSE)
        else:
            break
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _refused(path: Path, broken: Broken) -> AuditUnavailable:
    return AuditUnavailable(
        f"the last line of {path} {broken}: keep the file elsewhere, and a new one is begun; or name another"
    )


def _sound_end(descriptor: int) -> tuple[Link | None, int]:
    """The last record's link, and the size without a torn line after it.

    A line without its end was being written when a machine went down, and nobody was told that it was written. But the
    file may also be somebody else's, who wants to keep what is in it.

    :raises Broken: the end is not what is left of an audit.
    """
    status = os.fstat(descriptor)
    size = status.st_size
    if stat.S_ISREG(status.st_mode):
        tail = _tail(descriptor, size)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if len(torn) == _LONGEST:
            raise Broken("is longer than any record")
        begun = torn.strip(b"\0")  # what the file has grown by, and no data came to
        if not (begun.startswith(_BEGIN) or _BEGIN.startswith(begun)):
            raise Broken("is no record of an audit")
        size -= len(torn)
    return _last_of(descriptor, size), size


def _last_of(descriptor: int, size: int) -> Link | None:
    """The last record's link; None when there is no record.

    :raises Broken: it is none, or was changed.
    """
    tail = _tail(descriptor, size)
    lines = tail[: tail.rfind(b"\n") + 1].splitlines()
    return read(lines[-1].decode("ascii", "replace")).link if lines else None


def _tail(descriptor: int, size: int) -> bytes:
    length = min(size, _LONGEST)
    return os.pread(descriptor, length, size - length) if size else b""


def _leads_past(end: Link | None, link: Link) -> bool:
    """Whether a chain that ends so can have had this link."""
    return end is not None and (end.seq > link.seq or end == link)


def _quoted(name: str) -> str:
    """The name as a pattern that matches nothing else."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in name)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
