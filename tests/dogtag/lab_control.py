"""Kills and starts what the lab consists of."""

from __future__ import annotations

import subprocess

from tests.support.daemon import ROOT

_LAB = ROOT / "tests/dogtag/lab/lab"
_TIMEOUT = 180


def kill(*victims: str) -> None:
    """kill -9 of "ca", "ca2", "ds" or "ds2".

    :raises OSError: that cannot be done.
    """
    for victim in victims:
        command("kill9", victim)


def start() -> None:
    """Bring back what is down; nothing happens when all runs.

    :raises OSError: it does not come up.
    """
    try:
        command("start")
    except OSError:  # the killed one was not quite gone
        command("start")


def command(*words: str) -> None:
    """Run the lab's own command.

    :raises OSError: it failed; with what it said.
    """
    done = subprocess.run([_LAB, *words], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        said = done.stdout[-500:] + done.stderr[-500:]
        raise OSError(f"lab {' '.join(words)} failed with code {done.returncode}: {said}")
