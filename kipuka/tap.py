"""``twistd kipuka``: the composition root, and the one place that takes the global reactor."""

from __future__ import annotations

import getpass
import os
import signal
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from OpenSSL import SSL
from twisted.application.service import IService
from twisted.python import usage

from kipuka.config.faults import ConfigFaults
from kipuka.config.load import load
from kipuka.config.material import MaterialError
from kipuka.errors import AuthorityError
from kipuka.sockets import CannotListen
from kipuka.store.errors import StoreUnavailable, UnusableDatabase
from kipuka.tls.contexts import words


class Options(usage.Options):
    """Command line of ``twistd kipuka``."""

    longdesc = "Runs the kipuka EST server. `kipuka check FILE` tells what is wrong with a configuration."
    optParameters = [["config", "c", "/etc/kipuka/kipuka.toml", "Configuration file."]]  # noqa: N815 - Twisted's name


def makeService(options: Options) -> IService:
    """Build the daemon, sockets included, or end the process with one line per fault and exit code 1.

    It is called before twistd detaches, so a terminal is still there for passphrases and for the faults.
    """
    from twisted.internet import reactor

    from kipuka.assembly import Reactor, assemble

    path = Path(cast("str", options["config"])).absolute()  # it is read again by a process that may be elsewhere
    ask = _ask if sys.stdin is not None and sys.stdin.isatty() else None
    try:
        daemon = assemble(load(path), cast("Reactor", reactor), os.environ, ask, datetime.now(UTC), partial(load, path))
    except ConfigFaults as faults:
        raise SystemExit("\n".join(f"{path}: {fault}" for fault in faults.faults)) from None
    except (MaterialError, CannotListen, StoreUnavailable, UnusableDatabase) as fault:
        raise SystemExit(f"{path}: {fault}") from None
    except OSError as fault:
        raise SystemExit(f"{fault.filename or path}: {fault.strerror}") from None
    except (AuthorityError, ValueError, SSL.Error) as fault:  # what inspection has not foreseen
        raise SystemExit(f"{path}: {words(fault)}") from None
    signal.signal(signal.SIGHUP, lambda *_: cast("Reactor", reactor).callFromThread(daemon.reload))
    return daemon


def _ask(prompt: str) -> str:
    return getpass.getpass(prompt)
