"""Keys that are part of the configuration but have nothing behind them yet.

Writing one is a fault: a key is obeyed or refused, never ignored. Whoever builds a feature deletes its line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kipuka.config.faults import Fault, path_of

Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class NotBuilt:
    """One key or table.

    :param key: its path; ``[]`` stands for every entry of a list.
    :param missing: what it would take.
    :param harmless: values that may be written, because they ask for nothing.
    :param only: if given, just these values are not built.
    """

    key: str
    missing: str
    harmless: tuple[object, ...] = ()
    only: tuple[object, ...] = ()

    def refuses(self, value: object) -> bool:
        """Whether writing this value is a fault."""
        return value in self.only if self.only else value not in self.harmless


NOT_BUILT = (
    NotBuilt("server.workers", "several processes on one port", harmless=(1,)),
    NotBuilt("ca[].type", "CAs with their key in an HSM", only=("hsm",)),
    NotBuilt("ca[].serverkeygen", "server-side key generation"),
    NotBuilt("ca[].serverkeygen_profile", "server-side key generation"),
    NotBuilt("ca[].cmc", "Full CMC"),
    NotBuilt("ca[].cmc_profile", "Full CMC"),
    NotBuilt("ca[].api", "version 2 of Dogtag's REST API", only=("v2",)),
    NotBuilt("ca[].authority", "lightweight sub-CAs"),
    NotBuilt("est.fullcmc", "Full CMC", harmless=(False,)),
    NotBuilt("est.cmc", "Full CMC"),
    NotBuilt("est.serverkeygen", "server-side key generation", harmless=(False,)),
    NotBuilt("est.label[].authority", "lightweight sub-CAs"),
    NotBuilt("est.label[].serverkeygen_encryption", "server-side key generation"),
)


def faults(data: dict[str, Any]) -> Iterator[Fault]:
    """Find what was written and is not built.

    :param data: the TOML document as read, of any shape.
    """
    for entry in NOT_BUILT:
        for steps, value in _matches(data, entry.key.split("."), ()):
            if entry.only and entry.refuses(value):
                text = f'not built yet: {entry.missing} ("{value}"); remove this key or give it another value'
                yield Fault(path_of(steps), text)
            elif entry.refuses(value):
                what = "table" if isinstance(value, dict) else "key"
                yield Fault(path_of(steps), f"not built yet: {entry.missing}; remove this {what}")


def _matches(value: object, pattern: list[str], steps: Steps) -> Iterator[tuple[Steps, object]]:
    if not pattern:
        yield steps, value
        return
    key = pattern[0].removesuffix("[]")
    if not isinstance(value, dict) or key not in value:
        return
    inner = value[key]
    if not pattern[0].endswith("[]"):
        yield from _matches(inner, pattern[1:], (*steps, key))
    elif isinstance(inner, list):
        for position, item in enumerate(inner):
            yield from _matches(item, pattern[1:], (*steps, key, position))
