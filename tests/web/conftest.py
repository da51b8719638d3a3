"""Each web test gets a world of its own, and fails when anything was logged as a failure that it did not expect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support import pki
from tests.web.admin.world import Office, office
from tests.web.fakes import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture(autouse=True)
def failures() -> Iterator[list[Failure]]:
    """What would be a traceback in the daemon's log; a test that expects some takes them out."""
    logged: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            logged.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield logged
    globalLogPublisher.removeObserver(observe)
    assert not logged, "\n".join(failure.getTraceback() for failure in logged)


@pytest.fixture
def request_() -> x509.CertificateSigningRequest:
    return pki.csr(pki.ec_key(), "CN=device-1")


@pytest.fixture
def admin(world: World) -> Iterator[Office]:
    with office(world) as found:
        yield found
