"""Records the contract of tests/support/dogtag/contract.py at the lab.

``python -m tests.dogtag.record_contract EXPORT_DIR`` writes tests/vectors/dogtag/10.10.2/contract.txt. Needed again
when kipuka's client asks for other things.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.tls.client import ClientPolicy
from tests.support.dogtag import transcript
from tests.support.dogtag.contract import DogtagContract


class Recording(DogtagContract, TestCase):
    """Runs one test of the contract over clients that note what is said."""

    reactor: Any
    export: Path

    def setUp(self) -> None:
        self.exchanges: list[transcript.Exchange] = []
        self.clients: list[Client] = []

    def authority(self, credential: str = "agent") -> DogtagAuthority:
        env = dict(line.split("=", 1) for line in (self.export / "env").read_text().split())
        roots = x509.load_pem_x509_certificates((self.export / "ca-chain.pem").read_bytes())
        chain = x509.load_pem_x509_certificates((self.export / f"{credential}.pem").read_bytes())
        key = serialization.load_pem_private_key((self.export / f"{credential}-key.pem").read_bytes(), None)
        real = Client.open(self.reactor, env["DOGTAG_URL"], ClientPolicy(roots, chain, key))
        self.clients.append(real)
        return DogtagAuthority("dogtag", Noting(real, credential, self), "kipukaServer", clock=self.reactor)


class Noting(Client):
    """A client that tells a test what is said."""

    def __init__(self, real: Client, credential: str, test: Recording) -> None:
        self._real = real
        self.timeout = real.timeout
        self._credential = credential
        self._test = test

    def in_session_of_its_own(self) -> Client:
        return Noting(self._real.in_session_of_its_own(), self._credential, self._test)

    async def get(self, path: str) -> Answer:
        return self._note("GET", path, b"", await self._real.get(path))

    async def post(self, path: str, body: bytes) -> Answer:
        return self._note("POST", path, body, await self._real.post(path, body))

    def _note(self, method: str, path: str, body: bytes, answer: Answer) -> Answer:
        comment = self._test._testMethodName
        self._test.exchanges.append(transcript.Exchange(comment, self._credential, method, path, body, answer))
        return answer


async def record(reactor: Any) -> None:
    Recording.reactor, Recording.export = reactor, Path(sys.argv[1])
    exchanges: list[transcript.Exchange] = []
    for name in sorted(name for name in dir(DogtagContract) if name.startswith("test_")):
        case = Recording(name)
        case.setUp()
        await getattr(case, name)()
        exchanges += case.exchanges
        for client in case.clients:
            await client.close()
    path = transcript.FOLDER / "10.10.2" / "contract.txt"
    transcript.write(path, "kipuka's own calls while it went through the contract tests", exchanges)
    print(f"{len(exchanges)} exchanges in {path}")


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(record(reactor)))
