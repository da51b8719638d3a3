"""``kipuka user add|remove|list FILE [NAME]``: the file of users for HTTP Basic."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kipuka.access.credentials.users import (
    Users,
    UsersFileError,
    check_name,
    check_password,
    hash_password,
    with_user,
    without_user,
)
from kipuka.cli import CommandError
from kipuka.cli.credential_file import locked, read, replace

if TYPE_CHECKING:
    from kipuka.cli import Subparsers

_MODE = 0o640


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "user",
        help="manage the file of users for HTTP Basic",
        description="Manages the file that est.users names. A running daemon obeys it from its next request on.",
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
    hashed = hash_password(_password(arguments))
    with locked(file):
        text = read(file, missing="")
        is_known = name in _parse(file, text).names
        replace(file, with_user(text, name, hashed), _MODE)
    print(f'{file}: the password of "{name}" is changed' if is_known else f'{file}: user "{name}" is added')
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Remove a user."""
    file, name = arguments.file, arguments.name
    with locked(file):
        text = read(file)
        _parse(file, text)
        try:
            rest = without_user(text, name)
        except KeyError:
            raise CommandError(f'{file} has no user "{name}"; see kipuka user list {file}') from None
        replace(file, rest, _MODE)
    print(f'{file}: user "{name}" is removed')
    return 0


def show(arguments: argparse.Namespace) -> int:
    """List the users."""
    for name in _parse(arguments.file, read(arguments.file)).names:
        print(name)
    return 0


def _read_password() -> str:
    """Read a line of UTF-8, whatever the locale is."""
    return sys.stdin.buffer.readline().decode("utf-8").removesuffix("\n").removesuffix("\r")


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the password at; give it with --password-stdin")
    password = getpass.getpass(f'Password of "{name}": ')
    if getpass.getpass("The same again: ") != password:
        raise CommandError("the two passwords differ; nothing is changed")
    return password


def _password(arguments: argparse.Namespace) -> str:
    name: str = arguments.name
    try:
        password = _read_password() if arguments.password_stdin else _ask_password(name)
        check_password(name, password)
    except UnicodeDecodeError:  # at a terminal too, where its locale has another encoding
        raise CommandError("the password is not UTF-8 text; nothing is changed") from None
    except ValueError as error:
        raise CommandError(f"{error}; nothing is changed") from None
    return password


def _parse(file: Path, text: str) -> Users:
    try:
        return Users.parse(text)
    except UsersFileError as error:
        raise CommandError(f"{file}: {'; '.join(error.faults)}; put this right first") from None
