"""Processor cores: a CA and kipuka are on machines of their own in real life, and on the same two cores here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DOGTAG = ("/usr/sbin/ns-slapd", "/var/lib/pki/pki-tomcat")
"""In the command lines of the lab's processes."""


@contextmanager
def apart(kipuka: int) -> Iterator[bool]:
    """Have Dogtag and its directory run on the last core, and this process and kipuka on the others.

    Yields whether that could be done: it takes root and two cores.

    :param kipuka: process id.
    """
    every = os.sched_getaffinity(0)
    *ours, last = sorted(every)
    if not ours or os.geteuid() != 0:
        yield False
        return
    dogtag = [process for process in _processes() if any(part in _command(process) for part in _DOGTAG)]
    try:
        for process in dogtag:
            _keep_on(process, {last})
        for process in (kipuka, os.getpid()):
            _keep_on(process, set(ours))
        yield True
    finally:
        for process in (kipuka, os.getpid(), *dogtag):
            _keep_on(process, every)


def _processes() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]


def _command(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    return ""


def _keep_on(process: int, cores: set[int]) -> None:
    """All its threads; those that it starts later take after the one that starts them."""
    with suppress(FileNotFoundError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)
