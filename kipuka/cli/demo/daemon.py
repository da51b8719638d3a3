"""The daemon as a child process of the demo: ``twistd --nodaemon kipuka``, with its output in a file."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator

from kipuka.cli import CommandError
from kipuka.cli.demo.site import ADDRESS, Site

_START_TIMEOUT = 60.0
"""Seconds; a small machine takes ten the first time, when nothing is compiled."""
_STOP_TIMEOUT = 35.0
"""Seconds; a little more than the daemon's own shutdown_timeout."""
_TAIL_LINES = 20
_TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
"""The program twistd, run by this very Python whatever PATH says."""


class Daemon:
    """The running process."""

    def __init__(self, process: subprocess.Popen[bytes], site: Site) -> None:
        self._process = process
        self._site = site

    def wait_until_serving(self) -> None:
        """Return when there is an answer with the demo's own server certificate.

        :raises CommandError: the process has ended, or the time is over.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while not _serves(self._site):
            if self._process.poll() is not None:
                raise self.failure("the daemon did not start")
            if time.monotonic() > deadline:
                raise self.failure(f"the daemon did not serve within {_START_TIMEOUT:.0f} seconds")
            time.sleep(0.1)

    def wait(self) -> None:
        """Return never.

        :raises CommandError: the process has ended.
        """
        code = self._process.wait()
        raise self.failure(f"the daemon ended by itself with code {code}")

    def stop(self) -> None:
        """End the process, in order if it can be."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def failure(self, text: str) -> CommandError:
        """Return an error that has the end of the log in it."""
        try:
            lines = self._site.log.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (nothing)"
        return CommandError(f"{text}; the end of its log, {self._site.log}:\n{tail}")


@contextlib.contextmanager
def running(site: Site) -> Iterator[Daemon]:
    """Start the daemon, wait until it serves, and end it in the end.

    :raises CommandError: it does not serve.
    """
    with site.log.open("wb") as log:
        process = subprocess.Popen(
            [*_TWISTD, "--nodaemon", "--pidfile=", "kipuka", "--config", str(site.config)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the demo, which then ends its daemon
        )
    daemon = Daemon(process, site)
    try:
        daemon.wait_until_serving()
        yield daemon
    finally:
        daemon.stop()


def choose_port(wanted: int | None, default: int) -> int:
    """Return a port of 127.0.0.1 that can be listened on.

    :param wanted: 0 for any free one; None for the default, or any free one should it be taken.
    :raises CommandError: the wanted one cannot be had.
    """
    try:
        return _free(default if wanted is None else wanted)
    except OSError as error:
        if wanted is None:
            return _free(0)
        reason = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
        raise CommandError(f"cannot listen on port {wanted}: {reason}; try another, or --port 0 for any") from None


def end_in_order_when_told_to() -> None:
    """Have SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that no daemon is left behind."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, end)


def _free(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemon does
        probe.bind((ADDRESS, port))
        probe.listen()
        free: int = probe.getsockname()[1]
        return free


def _serves(site: Site) -> bool:
    context = ssl.create_default_context(cafile=site.ca)
    try:
        with (
            socket.create_connection((ADDRESS, site.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=ADDRESS),
        ):
            return True
    except OSError:
        return False
