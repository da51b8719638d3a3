"""Small files of credentials that a person changes while the daemon reads them: read, locked, replaced in one step."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kipuka.cli import CommandError


def read(file: Path, *, missing: str | None = None) -> str:
    """Read a file.

    :param missing: what stands for a file that is not there; None: that is an error too.
    :raises CommandError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8 text") from None


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep a second such command out of the directory, for of two at once one would be lost.

    :raises CommandError: it cannot be opened or locked.
    """
    try:
        directory = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CommandError(f"cannot open the directory of {file}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
        except OSError as error:  # NFS has no locks for directories
            raise CommandError(f"cannot lock the directory of {file}: {error.strerror}") from None
        yield
    finally:
        os.close(directory)


def replace(file: Path, text: str, mode: int) -> None:
    """Put the text in the file's place in one step: a reader sees the old file or the new one.

    Owner and group stay.

    :param mode: of the file; group and others get no right that they did not have, for there are hashes in it.
    :raises CommandError: it cannot be written; the old one is still there then.
    """
    file = file.resolve()  # the file itself, not a link to it
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
            with contextlib.suppress(FileNotFoundError):
                old = file.stat()
                mode &= stat.S_IMODE(old.st_mode) | stat.S_IRWXU
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, mode)
            output.flush()
            os.fsync(descriptor)
        Path(temporary).replace(file)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CommandError(f"cannot write {file}: {error.strerror}; nothing is changed") from None
