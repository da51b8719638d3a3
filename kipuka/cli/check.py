"""``kipuka check FILE``: whether kipuka would start with this configuration."""

from __future__ import annotations

import argparse
import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kipuka.config.inspect import inspect
from kipuka.config.load import ConfigFaults, load
from kipuka.tls import trial

if TYPE_CHECKING:
    from kipuka.cli import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a configuration file and everything it names",
        description="Checks a configuration file and the files it names. Prints one fault a line and exits with 1 "
        "if there are any. Nothing is sent over the network.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the faults, all on standard error, or on standard output that there are none."""
    try:
        config = load(arguments.file)
    except ConfigFaults as error:
        faults = error.faults
    else:
        ask = getpass.getpass if sys.stdin.isatty() else None
        faults = inspect(config, datetime.now(UTC), trial, ask=ask)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    print(f"{arguments.file}: good")
    return 0
