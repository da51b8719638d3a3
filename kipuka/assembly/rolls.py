"""Who has credentials for this server, users and tokens, as far as the audit is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from kipuka.observe.audit.record import Audit, AuditEvent, Record

Roll = Mapping[str, str]
"""By how somebody is shown: a hash, which is another one when their credential is. Hashes stay here."""
_ROOM = 900
"""Characters of names in one record, as JSON: what is longer than a field, or a record, is cut."""


class Rolls:
    """Records who has credentials at the start, and who gets or loses one while the daemon runs.

    It sees the files, not who changes them: whether by a command of kipuka or with an editor makes no difference.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._known: dict[str, Roll] = {}

    def see(self, rolls: Mapping[str, Roll]) -> None:
        """Take note of who has credentials from now on.

        :param rolls: by what the credentials are: ``users``, ``tokens``.
        """
        for kind, roll in rolls.items():
            before, self._known[kind] = self._known.get(kind), roll
            if before is None:
                self._note(kind, "in force", roll)
                continue
            self._note(kind, "removed", before.keys() - roll.keys())
            self._note(kind, "added", roll.keys() - before.keys())
            self._note(kind, "changed", [name for name in roll if before.get(name, roll[name]) != roll[name]])

    def _note(self, kind: str, outcome: str, names: Iterable[str]) -> None:
        for shown in _by_record(sorted(names)):
            reason = ", ".join(shown)
            self._audit(
                Record(event=AuditEvent.CONFIGURED, operation=kind, outcome=outcome, reason=reason, count=len(shown))
            )


def _by_record(names: Iterable[str]) -> Iterator[list[str]]:
    """As many names at a time as one record shows whole: nobody hides behind the others."""
    shown: list[str] = []
    room = _ROOM
    for name in names:
        size = len(json.dumps(name))  # its two quotes stand for the comma and the space
        if shown and size > room:
            yield shown
            shown, room = [], _ROOM
        shown.append(name)
        room -= size
    if shown:
        yield shown
