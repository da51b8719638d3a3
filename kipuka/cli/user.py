"""``kipuka user add|remove|list FILE [NAME]``: the file of users for HTTP Basic."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import getpass
import os
import stat
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kipuka.access.users import Users, UsersFileError, check_name, hash_password, with_user, without_user
from kipuka.cli import CommandError

if TYPE_CHECKING:
    from kipuka.cli import Subparsers

_MAX_PASSWORD = 1024
"""Characters; more than any person or device keeps, and little enough for a header line."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "user",
        help="manage the file of users for HTTP Basic",
        description="Manages the file that est.users names. The daemon reads it when it starts.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    adding = actions.add_parser("add", help="add a user, or set a user's password anew")
    adding.add_argument("file", metavar="FILE", type=Path, help="the users file; made if it is not there")
    adding.add_argument("name", metavar="NAME", help="the user's name; may be empty ('')")
    adding.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    adding.set_defaults(run=add)

    removing = actions.add_parser("remove", help="remove a user")
    removing.add_argument("file", metavar="FILE", type=Path, help="the users file")
    removing.add_argument("name", metavar="NAME", help="the user's name")
    removing.set_defaults(run=remove)

    listing = actions.add_parser("list", help="list the users' names, one a line")
    listing.add_argument("file", metavar="FILE", type=Path, help="the users file")
    listing.set_defaults(run=show)


def add(arguments: argparse.Namespace) -> int:
    """Add a user or set their password."""
    file, name = arguments.file, arguments.name
    try:
        check_name(name)
    except ValueError as error:
        raise CommandError(str(error)) from None
    hashed = hash_password(_read_password() if arguments.password_stdin else _ask_password(name))
    with _locked(file):
        text = _read(file, missing="")
        is_known = name in _parse(file, text).names
        _replace(file, with_user(text, name, hashed))
    print(f'{file}: the password of "{name}" is changed' if is_known else f'{file}: user "{name}" is added')
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Remove a user."""
    file, name = arguments.file, arguments.name
    with _locked(file):
        text = _read(file)
        _parse(file, text)
        try:
            rest = without_user(text, name)
        except KeyError:
            raise CommandError(f'{file} has no user "{name}"; see kipuka user list {file}') from None
        _replace(file, rest)
    print(f'{file}: user "{name}" is removed')
    return 0


def show(arguments: argparse.Namespace) -> int:
    """List the users."""
    for name in _parse(arguments.file, _read(arguments.file)).names:
        print(name)
    return 0


def _read_password() -> str:
    try:
        return _usable(sys.stdin.readline().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        raise CommandError("the password is not UTF-8 text; nothing is changed") from None


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the password at; give it with --password-stdin")
    password = _usable(getpass.getpass(f'Password of "{name}": '))
    if getpass.getpass("The same again: ") != password:
        raise CommandError("the two passwords differ; nothing is changed")
    return password


def _usable(password: str) -> str:
    if not password:
        raise CommandError("the password is empty; nothing is changed")
    if len(password) > _MAX_PASSWORD:
        raise CommandError(f"the password is longer than {_MAX_PASSWORD} characters; nothing is changed")
    if any(unicodedata.category(character) == "Cc" for character in password):  # RFC 7617 section 2
        raise CommandError("a password cannot hold control characters; nothing is changed")
    return password


def _parse(file: Path, text: str) -> Users:
    try:
        return Users.parse(text)
    except UsersFileError as error:
        raise CommandError(f"{file}: {'; '.join(error.faults)}; put this right first") from None


def _read(file: Path, *, missing: str | None = None) -> str:
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
def _locked(file: Path) -> Iterator[None]:
    """Keep a second ``kipuka user`` out of the directory, for of two at once one would be lost."""
    try:
        directory = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CommandError(f"cannot open the directory of {file}: {error.strerror}") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _replace(file: Path, text: str) -> None:
    """Put the text in the file's place in one step: a reader sees the old file or the new one.

    Owner and group stay. The mode is 0640, or 0600 if it was that: nobody else may read hashes.
    """
    file = file.resolve()  # the file itself, not a link to it
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
            mode = 0o640
            with contextlib.suppress(FileNotFoundError):
                old = file.stat()
                mode = 0o600 if stat.S_IMODE(old.st_mode) == 0o600 else 0o640
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
