"""``kipuka demo``: a throwaway CA, the real daemon in front of it, and a device that enrolls over TLS.

:mod:`.site` makes the files, :mod:`.daemon` runs ``twistd kipuka``, :mod:`.device` is the EST client, :mod:`.walk`
tells what happens, :mod:`.by_hand` has the same as commands for a shell.
"""

from __future__ import annotations

import argparse
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kipuka.cli import Subparsers
    from kipuka.cli.demo.daemon import Daemon
    from kipuka.cli.demo.site import Site

DEFAULT_FOLDER = Path("kipuka-demo")
DEFAULT_PORT = 8443


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="try it: a throwaway CA, a daemon, a device enrolling",
        description="Makes a throwaway CA and a configuration, starts the daemon on 127.0.0.1, enrolls a device and "
        "renews its certificate, tells what each step did, and serves until Ctrl-C.",
    )
    parser.add_argument(
        "--dir",
        metavar="D",
        type=Path,
        default=DEFAULT_FOLDER,
        help=f"where the demo's files are put; those of an earlier demo are used again (./{DEFAULT_FOLDER})",
    )
    parser.add_argument(
        "--port",
        metavar="P",
        type=_port,
        help=f"port to serve on; 0 takes any free one ({DEFAULT_PORT}, or any free one if that is taken)",
    )
    parser.add_argument("--once", action="store_true", help="end after the device has enrolled, instead of serving")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Play the demo on standard output."""
    from kipuka.cli.demo import daemon, site

    daemon.end_in_order_when_told_to()
    with site.opened(arguments.dir.absolute()) as folder:
        port = daemon.choose_port(arguments.port, DEFAULT_PORT)
        if arguments.port is None and port != DEFAULT_PORT:
            _say(f"Port {DEFAULT_PORT} is taken, so the demo uses {port}.")
        made = site.prepare(folder, port, datetime.now(UTC))
        with daemon.running(made) as process:
            return _play(made, process, once=arguments.once)


def _play(site: Site, process: Daemon, *, once: bool) -> int:
    from kipuka.cli.demo import by_hand, walk
    from kipuka.cli.demo.device import StepFailed

    _say(f"A throwaway CA, {'kept from an earlier demo' if site.reused else 'new'}, in {site.folder}")
    _say(f"The daemon serves {site.base_url} with {site.config}; its log is {site.log}")
    try:
        serial = walk.through(site, _say)
    except (StepFailed, OSError) as error:
        raise process.failure(f"the walk-through failed: {error}") from None
    _say()
    for line in by_hand.text(site, once=once):
        _say(line)
    _say()
    _say(f"serial 0x{serial:x}")
    if not once:
        with contextlib.suppress(KeyboardInterrupt):
            _say(f"Serving on port {site.port} until Ctrl-C.")
            process.wait()
        _say("\nThe demo ends.")
    return 0


def _say(line: str = "") -> None:
    print(line, flush=True)  # so that a reader at the other end of a pipe can follow, too


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, found {text!r}")
    return int(text)
