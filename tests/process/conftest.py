"""One daemon for the tests of a module that only talk to it; its log must hold no traceback at the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.sites import Site
from tests.support.daemon import Daemon

TROUBLE = ("Traceback", "Unhandled", "RuntimeWarning", "ResourceWarning")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores Ctrl-C in what it runs in the background, and all that is started by it would.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def check_log(daemon: Daemon) -> None:
    """Fail when something in the daemon went wrong that nobody expected."""
    text = daemon.log_text()
    assert not any(word in text for word in TROUBLE), daemon.log_tail()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"))
    site.write(client_auth={"crl": "crls.pem"})
    return site


@pytest.fixture(scope="module")
def daemon(site: Site) -> Iterator[Daemon]:
    with Daemon(site.config) as daemon:
        yield daemon
    check_log(daemon)


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A site whose daemon the test starts itself."""
    return Site(tmp_path)
