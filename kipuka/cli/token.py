"""``kipuka token add|remove|list FILE [NAME]``: the file of bearer tokens for the admin API."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kipuka.access.credentials.token_file import read_uses, uses_of
from kipuka.access.credentials.tokens import (
    Scope,
    Token,
    Tokens,
    TokensFileError,
    check_name,
    hash_token,
    names_of,
    new_token,
    with_token,
    without_token,
)
from kipuka.cli import CommandError
from kipuka.cli.credential_file import locked, read, replace

if TYPE_CHECKING:
    from kipuka.cli import Subparsers

_MODE = 0o600
_COLUMNS = ("NAME", "SCOPES", "CREATED (UTC)", "LAST USED (UTC)")


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "token",
        help="manage the file of tokens for the admin API",
        description="Manages the file that admin.tokens names. A running daemon obeys it from its next request on.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    adding = actions.add_parser("add", help="make a token and print it, this once")
    adding.add_argument("file", metavar="FILE", type=Path, help="the tokens file; made if it is not there")
    adding.add_argument("name", metavar="NAME", help="whose token it is; the audit calls its user so")
    adding.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it allows; may be given twice (default: read)",
    )
    adding.set_defaults(run=add)

    removing = actions.add_parser("remove", help="remove a token: it is good for nothing from then on")
    removing.add_argument("file", metavar="FILE", type=Path, help="the tokens file")
    removing.add_argument("name", metavar="NAME", help="the token's name")
    removing.set_defaults(run=remove)

    listing = actions.add_parser("list", help="list names, scopes, and when each was made and last used")
    listing.add_argument("file", metavar="FILE", type=Path, help="the tokens file")
    listing.set_defaults(run=show)


def add(arguments: argparse.Namespace) -> int:
    """Make a token; its text is printed here and kept nowhere."""
    file, name = arguments.file, arguments.name
    try:
        check_name(name)
    except ValueError as error:
        raise CommandError(str(error)) from None
    scopes = frozenset(Scope(scope) for scope in arguments.scope or [Scope.READ.value])
    secret = new_token()
    with locked(file):
        text = read(file, missing="")
        if _parse(file, text).get(name) is not None:
            raise CommandError(f'{file} has a token "{name}" already; remove it first, or choose another name')
        replace(file, with_token(text, Token(name, scopes, datetime.now(UTC), hash_token(secret))), _MODE)
        _make_uses(file)
    print(f'{file}: token "{name}" with scope {names_of(scopes)} is added. It is shown only now: {secret}')
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Remove a token."""
    file, name = arguments.file, arguments.name
    with locked(file):
        text = read(file)
        _parse(file, text)
        try:
            rest = without_token(text, name)
        except KeyError:
            raise CommandError(f'{file} has no token "{name}"; see kipuka token list {file}') from None
        replace(file, rest, _MODE)
    print(f'{file}: token "{name}" is removed')
    return 0


def show(arguments: argparse.Namespace) -> int:
    """List the tokens."""
    file = arguments.file
    try:
        uses = read_uses(uses_of(file))
    except OSError as error:
        raise CommandError(f"cannot read {uses_of(file)}: {error.strerror}") from None
    rows = [_COLUMNS]
    for token in _parse(file, read(file)):
        used = uses.get(token.name)
        if used is not None and used < token.created.replace(second=0):  # by an earlier token of this name
            used = None
        last = "never" if used is None else f"{used:%Y-%m-%d %H:%M}"
        rows.append((token.name, names_of(token.scopes), f"{token.created:%Y-%m-%d %H:%M}", last))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _make_uses(file: Path) -> None:
    """Make the file in which the daemon notes when tokens were used, for whoever owns the tokens file.

    The daemon may write no other file in that directory. Without it the daemon says so, and works.
    """
    status = file.stat()
    try:
        descriptor = os.open(uses_of(file), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    except OSError:  # most often because it is there
        return
    try:
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    finally:
        os.close(descriptor)


def _parse(file: Path, text: str) -> Tokens:
    try:
        return Tokens.parse(text)
    except TokensFileError as error:
        raise CommandError(f"{file}: {error}; put this right first") from None
