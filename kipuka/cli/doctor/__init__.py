"""``kipuka doctor FILE``: whether kipuka would work with this configuration: files, CAs, profiles, store.

``kipuka check`` looks at files only; the doctor also asks the CAs and the database. It changes nothing, except with
``--enroll``. What an answer means is judged in ``answers``, ``profiles`` and ``handshake``, apart from the asking.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kipuka.cli.doctor.findings import Finding, Level

if TYPE_CHECKING:
    from kipuka.cli import Subparsers
    from kipuka.config.model import Config


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="examine a configuration, its CAs, their profiles and the database",
        description="Examines a configuration and everything it needs: files, TLS, each CA and its profiles, the "
        "database. Prints one finding a line, ok, warning or fault, and at the end the commands for devices. Exits "
        "with 1 if there is a fault.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration file")
    parser.add_argument(
        "--enroll",
        action="store_true",
        help="also ask each Dogtag CA for a test certificate of each label, with a throwaway key, and revoke it",
    )
    parser.add_argument("--json", action="store_true", help="print each finding as a line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print findings while they come; return 1 when there was a fault."""
    # The check of a command line, or its help, need not wait for Twisted.
    from kipuka.cli.doctor.checks import configuration

    output = _Output(as_json=arguments.json)
    config, findings = configuration.read(arguments.file)
    for each in findings:
        output.report(each)
    if config is not None:
        _examine(config, output, enroll=arguments.enroll)
        output.clients(config)
    output.end()
    return 1 if output.count[Level.FAULT] else 0


def _examine(config: Config, output: _Output, *, enroll: bool) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from kipuka.cli.doctor import runner

    ask = getpass.getpass if sys.stdin.isatty() else None
    finished = interrupted = False
    unread: BrokenPipeError | None = None

    def stopping() -> None:
        nonlocal interrupted
        interrupted = not finished

    async def main(reactor: Any) -> None:
        nonlocal finished

        def report(finding: Finding) -> None:
            nonlocal unread
            if interrupted or unread is not None:  # connections that a signal cuts are no findings
                return
            try:
                output.report(finding)
            except BrokenPipeError as error:  # here it would be taken for trouble with what is examined
                unread = error
                reactor.callWhenRunning(reactor.stop)

        reactor.addSystemEventTrigger("before", "shutdown", stopping)
        await runner.examine(reactor, config, report, now=lambda: datetime.now(UTC), ask=ask, enroll=enroll)
        finished = True

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as end:
        if unread is not None:
            raise unread from None
        if interrupted:
            raise KeyboardInterrupt from None
        if end.code:  # a mistake of kipuka, which react has shown
            raise


class _Output:
    """Standard output, each line flushed: who waits for a slow CA sees what is known so far."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.count: Counter[Level] = Counter()

    def report(self, finding: Finding) -> None:
        self.count[finding.level] += 1
        print(json.dumps(finding.as_json()) if self._as_json else finding, flush=True)

    def clients(self, config: Config) -> None:
        from kipuka.cli.doctor import clients

        if not self._as_json:
            print("", *clients.text(config), "", sep="\n", flush=True)
            return
        for endpoint in clients.endpoints(config):
            programs = {each.client: each.lines for each in clients.commands(endpoint)}
            line = {"label": endpoint.label, "url": endpoint.url, "notes": endpoint.notes, "clients": programs}
            print(json.dumps(line), flush=True)

    def end(self) -> None:
        if not self._as_json:
            faults, warnings = self.count[Level.FAULT], self.count[Level.WARNING]
            print(f"faults: {faults}, warnings: {warnings}, ok: {self.count[Level.OK]}", flush=True)
