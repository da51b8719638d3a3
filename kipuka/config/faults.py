"""What is wrong with a configuration: every fault at once, each with the place where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Fault:
    """One thing to put right.

    :param path: where, as in ``ca[1].poll_interval`` (lists count from 0); empty when it is the file as a whole.
    :param text: what is wrong and what to do. Never holds a secret's value.
    """

    path: str
    text: str

    def __str__(self) -> str:
        line = f"{self.path}: {self.text}" if self.path else self.text
        return _CONTROL.sub("?", line)  # one fault is one line, whatever was quoted from the file


class ConfigFaults(Exception):  # noqa: N818 - it is the faults themselves that are raised
    """The configuration cannot be used; ``str()`` has one fault a line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def path_of(steps: Iterable[str | int]) -> str:
    """Write the way to a value as text: ``("ca", 1, "url")`` is ``ca[1].url``."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            # A key that is no bare TOML key is shown the way TOML would have it written.
            key = step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else '"' + step.replace('"', '\\"') + '"'
            text += f".{key}" if text else key
    return text
