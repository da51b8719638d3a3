"""``kipuka audit verify``: whether the records of an audit are as they were written, all there, and in order."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from kipuka.cli import CommandError
from kipuka.config.load import ConfigFaults, load
from kipuka.observe.audit.chain import BEGINNING, Broken, Link, Walk, read
from kipuka.store.store import Store, StoreUnavailable, UnusableDatabase

if TYPE_CHECKING:
    from kipuka.cli import Subparsers

_LONGEST = 1 << 16
"""Bytes of a line; no record is so long."""
_LINK = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})", re.ASCII)


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "audit",
        help="verify the records of the audit",
        description="Verifies the hash chain of the audit, in files or in the database.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    verifying = actions.add_parser(
        "verify",
        help="find records that were changed, removed or put into another order",
        description="Verifies audit files, in whatever order they are named (.gz too), as one chain; or the chain in "
        "the database that a configuration names. Prints one fault a line and exits with 1 if there are any.",
    )
    what = verifying.add_mutually_exclusive_group(required=True)
    what.add_argument("files", metavar="FILE", type=Path, nargs="*", default=[], help="a file of [audit] file")
    what.add_argument("--config", metavar="FILE", type=Path, help="verify the database of this configuration")
    verifying.add_argument(
        "--after", metavar="SEQ:HASH", type=_link, help="the record before the first one, as noted when it was the last"
    )
    verifying.add_argument(
        "--last", metavar="SEQ:HASH", type=_link, help="a record that has to be there, as noted when it was the last"
    )
    verifying.set_defaults(run=verify)


def verify(arguments: argparse.Namespace) -> int:
    """Print the faults on standard error, and where the chain begins and ends on standard output."""
    # The database forgets its oldest records; who removes those of a file has the link that proves where it went on.
    walk = Walk(arguments.after or (None if arguments.config else BEGINNING), arguments.last)
    found = _database(arguments.config, walk) if arguments.config else _files(arguments.files, walk)
    is_good = True
    for fault in chain(found, walk.end()):
        is_good = False
        print(fault, file=sys.stderr)
    for line in _summary(walk):
        print(line)
    if is_good:
        print("good")
    return 0 if is_good else 1


def _link(text: str) -> Link:
    match = _LINK.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("expected a number, a colon and 64 hexadecimal digits, as verify prints them")
    return Link(int(match[1]), match[2])


def _files(files: Iterable[Path], walk: Walk) -> Iterator[str]:
    for file in sorted(files, key=_first):
        line = ""
        for number, line in enumerate(_lines(file), 1):
            yield from (f"{file} line {number}: {fault}" for fault in walk.step(line.removesuffix("\n")))
        if line and not line.endswith("\n"):
            yield f"{file}: the last line has no end: it was cut, or is being written at this moment"


def _first(file: Path) -> int:
    """The number of a file's first record that can be read."""
    for line in _lines(file):
        with contextlib.suppress(Broken):
            return read(line.removesuffix("\n")).seq
    return 0


def _lines(file: Path) -> Iterator[str]:
    """Its lines with their ends; what is no text is not ours, and is told of as any other damage."""
    try:
        with cast("IO[bytes]", gzip.open(file)) if file.suffix == ".gz" else file.open("rb") as opened:
            while line := opened.readline(_LONGEST):
                yield line.decode("ascii", "replace")
    except (EOFError, zlib.error):
        raise CommandError(f"{file} is a damaged compressed file; verify the file as it was before") from None
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror or error}") from None


def _database(config: Path, walk: Walk) -> Iterator[str]:
    try:
        url = load(config).db.url
    except ConfigFaults as error:
        raise CommandError("; ".join(map(str, error.faults))) from None
    try:
        with contextlib.closing(Store.open(url, upgrade=False, connections=1)) as store:
            yield from store.audit.check(walk)
    except (StoreUnavailable, UnusableDatabase) as error:
        raise CommandError(str(error)) from None


def _summary(walk: Walk) -> Iterator[str]:
    first, last = walk.first, walk.last
    if first is None or last is None:
        return
    yield f"{walk.count} records, {first.seq} to {last.seq}"
    if first.seq > 1:
        yield f"the one before them was {first.seq - 1}:{first.previous}"
    yield f"the last of them is {last.seq}:{last.hash}"
