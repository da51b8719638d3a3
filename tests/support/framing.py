"""The corpus of tests/vectors/framing: hostile or broken bytes on a connection, and what may come back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "vectors" / "framing" / "corpus.json"


@dataclass(frozen=True)
class Case:
    """One connection.

    :param sent: all bytes of the client.
    :param statuses: what may be answered: alternatives, each the statuses of all answers in order.
    :param closes: whether the server ends the connection; None when it may do either.
    """

    name: str
    sent: bytes
    statuses: tuple[tuple[int, ...], ...]
    closes: bool | None

    @property
    def head(self) -> bool:
        """Whether the request is one for a header only."""
        return self.sent.startswith(b"HEAD ")

    def check(self, statuses: list[int], *, closed: bool) -> None:
        """Fail unless this was an acceptable outcome."""
        assert tuple(statuses) in self.statuses, f"{self.name}: answered {statuses}, expected one of {self.statuses}"
        if self.closes is not None:
            assert closed is self.closes, f"{self.name}: the connection was {'closed' if closed else 'kept'}"

    def __str__(self) -> str:
        return self.name


def _case(entry: dict[str, object]) -> Case:
    """``send`` is a list of texts in Latin-1, or of [text, how many times]."""
    sent = b""
    for part in entry["send"]:  # type: ignore[attr-defined]
        text, times = part if isinstance(part, list) else (part, 1)
        sent += text.encode("latin-1") * times
    answers = tuple(tuple(each) for each in entry["answers"])  # type: ignore[attr-defined]
    return Case(str(entry["name"]), sent, answers, entry["closes"])  # type: ignore[arg-type]


CASES = [_case(entry) for entry in json.loads(_FILE.read_text("utf-8"))]
