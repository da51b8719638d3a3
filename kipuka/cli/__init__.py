"""The ``kipuka`` command. Each subcommand is a module of this package.

A module has ``register(subparsers)``, which adds its parser and sets ``run`` as its default: a function that takes the
parsed arguments, returns the exit code, and raises :class:`CommandError` for what a person can put right.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
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
    :returns: the exit code: 0 done, 1 not done; 128 and a signal's number where a shell's own tools end by the signal.
        A wrong command line exits with 2, as argparse does.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        try:
            return _done(words)
        finally:
            sys.stdout.flush()  # what cannot be written is found out here, and not when the interpreter ends
    except BrokenPipeError:  # nobody reads on, as with "| head"
        code = 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None:  # of a file that a command forgot, and not of the output
            raise
        code = 1
        with suppress(OSError):
            print(f"kipuka: cannot write the output: {error.strerror}", file=sys.stderr)
    _drop_unwritten()
    return code


def _prepare_streams() -> None:
    """See that there are streams, and that every text can be written.

    Where the caller has closed a stream (``>&-``) Python has None, and the next file opened would get its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr is so from the start
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_unwritten() -> None:
    """Let go what could not be written, or it would be tried again when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _done(words: Sequence[str]) -> int:
    arguments = _parser(words).parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except CommandError as error:
        print(f"kipuka: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):  # Ctrl-C, or Ctrl-D at a question
        return 128 + signal.SIGINT
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kipuka", description="EST registration authority (RFC 7030).")
    parser.add_argument("--version", action="version", version=f"kipuka {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    # Only what is asked for is imported: checking a file need not wait for Twisted.
    for name in words[:1] if words and words[0] in COMMANDS else COMMANDS:
        import_module(f"kipuka.cli.{name}").register(subparsers)
    return parser
