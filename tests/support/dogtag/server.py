"""The stand-in Dogtag of tests/support/dogtag/standin.py as a real HTTPS server in a process of its own.

    with DogtagServer(folder) as dogtag:
        config.write_text(... + dogtag.table(profile="kipukaServerManual"))
        dogtag.fault("hang", SUBMIT)              # the next submission is acted upon and never answered
        dogtag.approve()                          # what an agent does
        dogtag.calls()[SUBMIT]                    # how often kipuka submitted
        dogtag.kill(); dogtag.start()             # kill -9, and up again with all it had

It has a CA of its own, which also issued the certificate of its server and of the agent. Every wait has a limit.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from cryptography import x509

from tests.support import pki
from tests.support.daemon import ROOT, free_port

SUBMIT = "POST /ca/rest/certrequests"
LIST = "GET /ca/rest/agent/certrequests"
LOOK = "GET /ca/rest/certrequests/{id}"
FETCH = "GET /ca/rest/certs/{id}"
SEARCH = "POST /ca/rest/certs/search"
PROBE = "GET /ca/rest/certs/{ca}"
"""A look at the CA's own certificate, which is how kipuka asks whether the CA works: whenever it likes."""
CHAIN = "GET /ca/rest/config/cert/signing"

Fault = Literal["lose", "cut", "hang", "drop", "ignore", "begin", "unavailable"]

_PATIENCE = 60.0


class DogtagServer:
    """The server's process, and what it is told.

    :param folder: an empty one of its own.
    :param clone_of: another that has not been started yet: the same CA, and each has the other's records at once.
    """

    def __init__(self, folder: Path, clone_of: DogtagServer | None = None) -> None:
        self._folder = folder
        self._peers: list[Path] = []
        self.first = 16
        """Its serial and request numbers begin here."""
        if clone_of is not None:
            self.first = 0x0FFF0001
            self._peers.append(clone_of._folder)
            clone_of._peers.append(folder)
        self.root = clone_of.root if clone_of else pki.root("CN=Stand-In CA,O=EXAMPLE")
        self.port = free_port()
        self._trust = self.root.write(folder, "dogtag-ca").certificate
        self.root.server("localhost").write(folder, "dogtag")
        self._agent = self.root.client("CN=agent").write(folder, "agent")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def trust(self) -> Path:
        """The CA's certificate, PEM."""
        return self._trust

    def table(self, **settings: str | int) -> str:
        """The ``[[ca]]`` of a configuration, id "dogtag", with these settings added."""
        known = {
            "id": "dogtag",
            "type": "dogtag",
            "url": f"https://localhost:{self.port}",
            "agent_cert": str(self._agent.certificate),
            "agent_key": str(self._agent.key),
            "ca_cert": str(self._trust),
        }
        return "[[ca]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in (known | settings).items())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"The stand-in Dogtag's log:\n{self.log_text()[-2000:]}")
        self.kill()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        arguments = [self._folder, self.port, self.first, *self._peers]
        with (self._folder / "dogtag.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.dogtag.process", *map(str, arguments)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        if self._heard() != "ready":
            raise AssertionError("the stand-in Dogtag said something else than that it is ready")

    def kill(self) -> None:
        """kill -9: from now on the port refuses connections."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not been killed since."""
        return self._process is not None

    def suspend(self) -> None:
        """SIGSTOP: from now on connections are accepted and nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on, and does what it had read."""
        self._running().send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Lose everything, as a server restored from an old copy. Only while it is down."""
        (self._folder / "journal").unlink(missing_ok=True)

    def log_text(self) -> str:
        """What the process wrote on its standard error."""
        return (self._folder / "dogtag.log").read_text(errors="replace")

    def fault(self, kind: Fault, call: str, times: int = 1) -> None:
        """Fail at the next calls of a kind (SUBMIT, LIST, ...).

        :param kind: after doing what is asked: "lose" closes the connection instead of answering, "cut" closes it
            amid the answer, "hang" never answers. Without doing it: "drop" closes the connection, "ignore" never
            answers, "unavailable" answers 503. "begin" notes a request and dies over it: it stays in state "begin" for
            ever.
        """
        self._tell("fault", kind=kind, call=call, times=times)

    def ldap(self, *, down: bool) -> None:
        """Have the directory server vanish or come back."""
        self._tell("set_ldap_down", down=down)

    def approve(self, numbers: Sequence[int] | None = None) -> int:
        """Approve these requests, or all that are pending; return how many they were."""
        return int(self._tell("decide", numbers=numbers, notes=None))

    def reject(self, notes: str, numbers: Sequence[int] | None = None) -> int:
        """Refuse these requests, or all that are pending, and note why."""
        return int(self._tell("decide", numbers=numbers, notes=notes))

    def requests(self, status: str) -> list[int]:
        """The numbers of the requests in a state, oldest first."""
        return list(self._tell("numbers", status=status))

    def wait_for(self, status: str, number: int, seconds: float = 30) -> list[int]:
        """Wait until so many requests are in a state."""
        deadline = time.monotonic() + seconds
        while len(found := self.requests(status)) < number:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(found)} instead of {number} requests became {status} in {seconds:.0f} s")
            time.sleep(0.02)
        return found

    def fill(self, number: int) -> list[int]:
        """Add pending requests that nobody waits for; return their numbers."""
        return list(self._tell("fill", number=number))

    def calls(self) -> Counter[str]:
        """How often each kind of call was made of this process."""
        return Counter({call: len(moments) for call, moments in self._tell("calls_by_kind").items()})

    def moments(self, call: str) -> list[float]:
        """When this process was called so, as time.monotonic() says."""
        return list(self._tell("calls_by_kind").get(call, []))

    def issued(self) -> list[x509.Certificate]:
        """Every certificate that exists, oldest first."""
        return [x509.load_der_x509_certificate(base64.b64decode(each)) for each in self._tell("certificates")]

    def _tell(self, command: str, **arguments: object) -> Any:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        process.stdin.flush()
        answer = self._heard()
        if "error" in answer:
            raise AssertionError(f"{command}: {answer['error']}")
        return answer["result"]

    def _heard(self) -> Any:
        """Read one line, byte for byte past Python's buffer, so that select tells the truth."""
        process = self._running()
        assert process.stdout is not None
        descriptor, line = process.stdout.fileno(), b""
        deadline = time.monotonic() + _PATIENCE
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
            part = os.read(descriptor, 65536) if ready else b""
            if not part:
                raise AssertionError(f"the stand-in Dogtag does not answer; its log:\n{self.log_text()[-2000:]}")
            line += part
        return json.loads(line)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("the stand-in Dogtag is not running")
        return self._process
