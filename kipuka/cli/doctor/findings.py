"""What the doctor says: findings, each good or with what to do next."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Level(Enum):
    """How a finding is. The value is the word it is printed with."""

    OK = "ok"
    WARNING = "warning"
    """Works, or may work, and deserves a look."""
    FAULT = "fault"
    """Something that kipuka is configured to do will not work. Makes the exit code 1."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :param subject: what it is about: ``configuration``, ``tls``, ``ca ID``, ``label NAME``, ``store``, ...
    :param text: what was found. Holds no secret.
    :param remedy: what to do next; only a good finding has none.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level.value:<8}{self.subject}: {self.text}" + (f"; {self.remedy}" if self.remedy else "")
        return _CONTROL.sub(" ", line)  # one finding is one line, whatever a server or a file made it quote

    def as_json(self) -> dict[str, str]:
        """Return the finding for ``--json``."""
        return {"level": self.level.value, "subject": self.subject, "text": self.text, "remedy": self.remedy}


Report = Callable[[Finding], None]
"""Takes a finding the moment it is there."""


def ok(subject: str, text: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, remedy: str) -> Finding:
    """Say that something deserves a look."""
    return Finding(Level.WARNING, subject, text, remedy)


def fault(subject: str, text: str, remedy: str) -> Finding:
    """Say that something will not work."""
    return Finding(Level.FAULT, subject, text, remedy)
