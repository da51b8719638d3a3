"""The ``kipuka`` command. Each subcommand is a module of this package.

A module has ``register(subparsers)``, which adds its parser and sets ``run`` as its default: a function that takes the
parsed arguments, returns the exit code, and raises :class:`CommandError` for what a person can put right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from kipuka import __version__

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

COMMANDS = ("audit", "check", "demo", "doctor", "enrollments", "token", "user")
"""The modules, by the word the operator types."""


class CommandError(Exception):
    """The command cannot be done; the text says what is wrong and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the words after ``kipuka``; those of the process if None.
    :returns: the exit code: 0 done, 1 not done. A wrong command line exits with 2, as argparse does.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except CommandError as error:
        print(f"kipuka: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):  # Ctrl-C, or Ctrl-D at a question
        return 130
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kipuka", description="EST registration authority (RFC 7030).")
    parser.add_argument("--version", action="version", version=f"kipuka {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    # Only what is asked for is imported: checking a file need not wait for Twisted.
    for name in words[:1] if words and words[0] in COMMANDS else COMMANDS:
        import_module(f"kipuka.cli.{name}").register(subparsers)
    return parser
