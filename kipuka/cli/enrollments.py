"""``kipuka enrollments list|show|abandon FILE``: what the ledger holds, and ending what is stuck.

Works beside a running daemon, which sees the changes within a second.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kipuka.cli import CommandError
from kipuka.config.load import ConfigFaults, load
from kipuka.enrollment.audit import describe
from kipuka.enrollment.ledger.states import ENDED, Event
from kipuka.observe.audit.record import Record
from kipuka.store.rows import OPEN, Enrollment, State
from kipuka.store.store import Store, StoreUnavailable, UnusableDatabase

if TYPE_CHECKING:
    from kipuka.cli import Subparsers

MEANING = {
    State.RECEIVED: "written down; nothing of it is at the CA",
    State.SUBMITTING: "on its way to the CA, or the answer is on its way back",
    State.UNKNOWN: "it was sent to the CA and the answer was lost",
    State.PENDING: "the CA has it and waits for an agent",
    State.ISSUED: "issued; the client has not got the certificate yet",
    State.DELIVERED: "issued and written out to the client",
    State.REJECTED: "refused by the CA or an agent; the client has not been told yet",
    State.CLOSED: "over",
}
ADVICE = {
    State.RECEIVED: "nothing: it is submitted when the client asks again",
    State.SUBMITTING: "wait; if the process that sent it is gone, the CA is asked what became of it",
    State.UNKNOWN: "see that the CA can be reached: it is asked what became of the request until it knows",
    State.PENDING: "let an agent approve or reject it at the CA",
    State.ISSUED: "nothing: the client gets the certificate when it asks again",
    State.DELIVERED: "nothing",
    State.REJECTED: "nothing: the client is told when it asks again",
    State.CLOSED: "nothing: the same request asked again is a new enrollment",
}
_COLUMNS = ("ID", "STATE", "CHANGED (UTC)", "CA", "LABEL", "REQUEST", "CALLER", "SUBJECT")
_WIDEST = 40
"""Characters of a column; the last one may be as wide as it is."""
_MOST = 999


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "enrollments",
        help="look into the ledger of enrollments, end what is stuck",
        description="Shows the enrollments in the database that a configuration names, and abandons one. "
        "The daemon may be running.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="list enrollments, newest first; those that are over only on request")
    _file(listing)
    names = [state.value for state in State]
    listing.add_argument("--state", action="append", choices=names, metavar="STATE", help=f"one of {', '.join(names)}")
    listing.add_argument("--all", action="store_true", help="those that are over too")
    listing.add_argument("--ca", metavar="ID", help="of this CA")
    listing.add_argument("--label", metavar="NAME", help="asked for under this label")
    listing.add_argument("--caller", metavar="TEXT", help="with this text in the caller's name")
    listing.add_argument("--limit", metavar="N", type=_number, default=50, help="how many at most (50)")
    listing.add_argument("--before", metavar="ID", type=_number, help="older than this one")
    listing.set_defaults(run=list_)

    showing = actions.add_parser("show", help="show all that is known of one")
    _file(showing)
    showing.add_argument("id", metavar="ID", type=_number, help="its number")
    showing.set_defaults(run=show)

    abandoning = actions.add_parser("abandon", help="end one: the same request asked again is then a new enrollment")
    _file(abandoning)
    abandoning.add_argument("id", metavar="ID", type=_number, help="its number")
    abandoning.add_argument("--yes", action="store_true", help="do not ask")
    abandoning.set_defaults(run=abandon)


def list_(arguments: argparse.Namespace) -> int:
    """Print a table."""
    states = {State(name) for name in arguments.state} if arguments.state else set(State) if arguments.all else OPEN
    limit = min(arguments.limit, _MOST)
    with _store(arguments.file) as store:
        rows = store.page(
            states=states,
            ca_id=arguments.ca,
            label=arguments.label,
            caller=arguments.caller,
            before=arguments.before,
            limit=limit + 1,  # one more, to know whether there are more
        )
    shown = rows[:limit]
    for line in _table([_COLUMNS, *map(_cells, shown)] if shown else []):
        print(line)
    if len(rows) > len(shown):
        print(f"There are more: --before {shown[-1].id}", file=sys.stderr)
    elif not shown:
        print("There are none.", file=sys.stderr)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print one row in full."""
    with _store(arguments.file) as store:
        row = _row(store, arguments)
    for name, value in _facts(row):
        print(f"{name:<14}{_printable(value)}")
    if row.certificate is not None:
        print(ssl.DER_cert_to_PEM_cert(row.certificate), end="")
    return 0


def abandon(arguments: argparse.Namespace) -> int:
    """Close one row, after a question."""
    with _store(arguments.file) as store:
        row = _row(store, arguments)
        if row.state is State.CLOSED:
            raise CommandError(f"enrollment {row.id} is over already")
        if not arguments.yes and not _confirmed(row):
            raise CommandError("nothing is changed")
        # Only as it was shown: what has moved on meanwhile may need no abandoning, or another warning.
        closed = store.move(row.id, {row.state}, State.CLOSED, datetime.now(UTC), audit=_abandoned, reason=ENDED)
        if closed is None:
            raise CommandError(
                f"enrollment {row.id} has changed meanwhile and is left alone; "
                f"look at it again: kipuka enrollments show {arguments.file} {row.id}"
            )
    print(f"Enrollment {row.id} is abandoned.")
    if arguments.yes and (warning := _left_behind(row)):
        print(warning)
    return 0


def _abandoned(row: Enrollment) -> Record:
    """What the audit says of it; the daemon, which may not even run, learns of it only when asked."""
    by = f"by {_operator()} with kipuka enrollments abandon"
    return replace(describe(Event.ABANDONED, row), node=socket.gethostname(), cause=by)


def _operator() -> str:
    """The account at work, and the one that became it through sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {before})" if before else name


def _confirmed(row: Enrollment) -> bool:
    print(f"Enrollment {row.id} of {_printable(row.application.caller)}, {_printable(row.application.subject)}")
    print(f"{row.state.value}: {MEANING[row.state]}.")
    if warning := _left_behind(row):
        print(warning)
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask at; give --yes to abandon it")
    return input("Abandon it? [y/N] ").strip().lower() in {"y", "yes"}


def _left_behind(row: Enrollment) -> str:
    """What abandoning the row leaves at the CA; empty when that is nothing."""
    ca, request = row.application.ca_id, f"request {_printable(row.request_id)}" if row.request_id else "the request"
    match row.state:
        case State.SUBMITTING | State.UNKNOWN:
            return (
                f'The CA "{ca}" may hold {request}, or have issued its certificate: look there for the subject, and '
                "reject the request or revoke the certificate."
            )
        case State.PENDING:
            return (
                f'The CA "{ca}" still holds {request}: reject it there, for an agent who approves it makes a '
                "certificate that nobody gets."
            )
        case State.ISSUED:
            return (
                f'The CA "{ca}" has issued certificate {row.serial or "(serial not known)"}, '
                "which its client never got: revoke it."
            )
    return ""


def _facts(row: Enrollment) -> Iterator[tuple[str, str]]:
    """Everything but the certificate; what there is nothing to say about is left out."""
    application = row.application
    facts = (
        ("enrollment", str(row.id)),
        ("state", f"{row.state.value}: {MEANING[row.state]}"),
        ("to do", ADVICE[row.state]),
        ("reason", row.reason),
        ("caller", application.caller),
        ("operation", application.operation),
        ("label", application.label),
        ("subject", application.subject),
        ("public key", f"SHA-256 {application.public_key}"),
        ("CA", application.ca_id),
        ("profile", application.profile),
        ("request", row.request_id),
        ("serial", row.serial),
        ("renews", row.renews),
        ("in progress", row.unfinished),
        ("process", row.process),
        ("created", _time(row.created)),
        ("submitted", _time(row.submitted)),
        ("absent since", _time(row.absent_since)),
        ("delivered", _time(row.delivered)),
        ("changed", _time(row.updated)),
        ("key", application.key),
    )
    return ((name, value) for name, value in facts if value is not None)


def _cells(row: Enrollment) -> tuple[str, ...]:
    application = row.application
    return (
        str(row.id),
        row.state.value,
        f"{row.updated:%Y-%m-%d %H:%M:%S}",
        application.ca_id,
        application.label or "-",
        row.request_id or "-",
        application.caller,
        application.subject,
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    cells = [[*(_short(cell) for cell in row[:-1]), _printable(row[-1])] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _short(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _printable(text: str) -> str:
    """Names come from clients: nothing in them may move the cursor or fake a line."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def _time(time: datetime | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 20 and int(text)):
        raise argparse.ArgumentTypeError("expected a number from 1")
    return int(text)


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration file")


def _row(store: Store, arguments: argparse.Namespace) -> Enrollment:
    row = store.get(arguments.id)
    if row is None:
        raise CommandError(f"there is no enrollment {arguments.id}; see kipuka enrollments list {arguments.file} --all")
    return row


@contextlib.contextmanager
def _store(file: Path) -> Iterator[Store]:
    """The store that a configuration names, as it is: the daemon makes and upgrades it."""
    try:
        config = load(file)
    except ConfigFaults as error:
        raise CommandError("; ".join(map(str, error.faults))) from None
    try:
        with contextlib.closing(Store.open(config.db.url, upgrade=False, connections=1)) as store:
            yield store
    except (StoreUnavailable, UnusableDatabase) as error:
        raise CommandError(str(error)) from None
