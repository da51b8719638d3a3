"""A real kipuka process for tests: ``twistd kipuka --config FILE`` run from this tree.

    with Daemon(config_path) as daemon:
        ... talk to daemon.host, daemon.port ...
    assert "Traceback" not in daemon.log_text()

Entering waits until the first ``[server] listen`` address of the configuration speaks TLS; leaving sends SIGTERM and
waits for the end. Every wait has a limit. When something goes wrong, the end of the daemon's log is in the failure.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
TWISTD = Path(sys.executable).with_name("twistd")
TAIL_LINES = 40
RELOADED = {True: "the changed configuration is in force", False: "kipuka goes on with the configuration it has"}

_PORTS = range(20000, 27000)
"""Below the system's own, and none of the lab's, which may be down for a moment."""
_ports = itertools.cycle(random.sample(_PORTS, len(_PORTS)))


class DaemonError(AssertionError):
    """The process did not start, did not stop or ended with an unexpected code; the text has its last log lines."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago, each time another.

    It is not one of those the system gives to outgoing connections: one of these might take it before the daemon does.
    """
    for port in itertools.islice(_ports, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free")


class Daemon:
    """One ``twistd kipuka`` process. Times are seconds.

    Process tests that expect a failing start use :meth:`spawn` and :meth:`wait` instead of the context manager.
    """

    def __init__(
        self,
        config: Path,
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        through: Sequence[str] = (),
        start_timeout: float = 30,
        stop_timeout: float = 40,
    ) -> None:
        """Prepare a process for this configuration file.

        :param environment: is added to the test's own.
        :param options: of twistd.
        :param through: a command that becomes twistd, such as ``prlimit``.
        """
        self._config = config.resolve()
        self._log = log or config.with_suffix(".log")
        self._environment = dict(environment or {})
        self._options = list(options)
        self._through = list(through)
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self.host, self.port = _first_address(self._config)

    def __enter__(self) -> Self:
        self.spawn()
        try:
            self.wait_until_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"The daemon's last log lines:\n{self.log_tail()}")
        if self.process.returncode is None:  # the test has not waited for the end itself
            self.stop(fail=error is None)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once spawned."""
        if self._process is None:
            raise DaemonError("The daemon was not started.")
        return self._process

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start the process and return at once. Its log is appended to, so a restarted daemon keeps the old lines."""
        if self.running:
            raise DaemonError("The daemon runs already.")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self._environment}
        twistd = [str(TWISTD), "--nodaemon", "--pidfile=", *self._options, "kipuka", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._through, *twistd],
                cwd=self._config.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        """Return when the port speaks TLS; raise DaemonError when the process ends before or the time is over."""
        deadline = time.monotonic() + self._start_timeout
        while not _speaks_tls(self.host, self.port):
            code = self.process.poll()
            if code is not None:
                raise self._failed(f"The daemon ended with code {code} instead of listening on port {self.port}.")
            if time.monotonic() > deadline:
                raise self._failed(f"No TLS on port {self.port} after {self._start_timeout:.0f} s.")
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def reload(self, *, well: bool = True) -> None:
        """Send SIGHUP; return when the log says that the configuration is in force, or is not used.

        :param well: which of the two it has to be.
        """
        before = self._reloads()
        self.signal(signal.SIGHUP)
        deadline = time.monotonic() + self._start_timeout
        while (after := self._reloads()) == before:
            if time.monotonic() > deadline:
                raise self._failed(f"The daemon did not reload within {self._start_timeout:.0f} s.")
            time.sleep(0.02)
        if (after[True] > before[True]) is not well:
            raise self._failed(f"The configuration was {'not ' if well else ''}used.")

    def _reloads(self) -> dict[bool, int]:
        text = self.log_text()
        return {well: text.count(words) for well, words in RELOADED.items()}

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code (negative: the signal that ended it) once the process has ended by itself."""
        try:
            return self.process.wait(timeout or self._stop_timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            raise self._failed(f"The daemon was still running after {timeout or self._stop_timeout:.0f} s.") from None

    def stop(self, *, fail: bool = True) -> int:
        """End the process with SIGTERM (SIGKILL when it does not obey) and return its exit code.

        twistd cleans up and then lets the signal end it, so both 0 and -SIGTERM are orderly ends; with ``fail`` all
        others raise DaemonError.
        """
        self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except DaemonError:
            if fail:
                raise
            return self.process.wait()
        if fail and code not in {0, -signal.SIGTERM}:
            raise self._failed(f"The daemon ended with code {code}.")
        return code

    def log_text(self) -> str:
        """Return everything the daemon has written to its standard output and error."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def logs(self, text: str) -> None:
        """Return when the log has the text, which may be a moment after a client has seen the cause of it."""
        deadline = time.monotonic() + self._start_timeout
        while text not in self.log_text():
            if time.monotonic() > deadline:
                raise self._failed(f"The daemon did not log {text!r} within {self._start_timeout:.0f} s.")
            time.sleep(0.02)

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-TAIL_LINES:]) or "(the log is empty)"

    def _failed(self, text: str) -> DaemonError:
        return DaemonError(f"{text} Its last log lines:\n{self.log_tail()}")

    def _kill(self) -> None:
        if self.running:
            self.process.kill()
            self.process.wait()


def _first_address(config: Path) -> tuple[str, int]:
    """Return where to connect for the first ``listen`` of the configuration."""
    listen = tomllib.loads(config.read_text()).get("server", {}).get("listen", "0.0.0.0:8443")
    host, _, port = (listen if isinstance(listen, str) else listen[0]).rpartition(":")
    host = host.strip("[]")
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=2) as plain, context.wrap_socket(plain):
            return True
    except (ConnectionError, TimeoutError):
        return False
    except ssl.SSLError as error:
        # An alert ("certificate required", say) comes from a TLS server; an end of file may come from anybody.
        return "ALERT" in (error.reason or "")
