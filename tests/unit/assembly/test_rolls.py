"""Who gets or loses credentials leaves a record, and no hash does."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from kipuka.access.credentials.tokens import Scope, Token, Tokens
from kipuka.access.credentials.users import LONGEST, Users
from kipuka.assembly.rolls import Rolls
from kipuka.observe.audit.record import AuditEvent, Record, line

BOTH = frozenset(Scope)
READ = frozenset({Scope.READ})


def tokens(**scopes: frozenset[Scope]) -> dict[str, str]:
    made = datetime(2026, 11, 23, tzinfo=UTC)
    return Tokens(Token(name, allowed, made, f"sha256:{name}") for name, allowed in scopes.items()).roll


class Seen:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.rolls = Rolls(self.records.append)

    def see(self, kind: str, roll: dict[str, str]) -> list[tuple[str | None, str | None, int | None]]:
        self.records.clear()
        self.rolls.see({kind: roll})
        assert all(each.event is AuditEvent.CONFIGURED and each.operation == kind for each in self.records)
        assert "sha256" not in "".join(map(line, self.records))
        return [(each.outcome, each.reason, each.count) for each in self.records]


def test_tokens() -> None:
    seen = Seen()
    assert seen.see("tokens", tokens(monitor=READ, ops=BOTH)) == [("in force", "monitor (read), ops (read,revoke)", 2)]
    assert seen.see("tokens", tokens(monitor=READ, ops=BOTH)) == []
    assert seen.see("tokens", tokens(ops=BOTH, new=READ)) == [
        ("removed", "monitor (read)", 1),
        ("added", "new (read)", 1),
    ]
    assert seen.see("tokens", tokens(ops=READ, new=READ)) == [  # other scopes are another token
        ("removed", "ops (read,revoke)", 1),
        ("added", "ops (read)", 1),
    ]
    assert seen.see("tokens", tokens(ops=READ) | {"new (read)": "another"}) == [("changed", "new (read)", 1)]
    assert seen.see("tokens", {}) == [("removed", "new (read), ops (read)", 2)]


def test_users() -> None:
    seen = Seen()
    assert seen.see("users", {}) == []
    assert seen.see("users", Users({"": "x", "alice, bob": "y"}).roll) == [("added", '"", "alice, bob"', 2)]
    assert seen.see("users", Users({"": "z", "alice, bob": "y"}).roll) == [("changed", '""', 1)]


@pytest.mark.parametrize("mark", ["-", "\N{LATIN SMALL LETTER U WITH DIAERESIS}", "\N{PERSONAL COMPUTER}"])
@pytest.mark.parametrize("times", [1, 40, 190])
def test_no_name_is_hidden_behind_others(mark: str, times: int) -> None:
    roll = Users({f"{number:03}{mark * times}": "x" for number in range(300)}).roll
    seen = Seen()
    seen.see("users", roll)
    written = [json.loads(line(each)) for each in seen.records]
    assert ", ".join(each["reason"] for each in written) == ", ".join(roll)
    assert [each["count"] for each in written] == [each["reason"].count(",") + 1 for each in written]
    assert len(written) < 10 or times > 1  # not one record for each


def test_the_longest_names_are_shown_whole() -> None:
    for name in ("a" * (LONGEST - 1), "\N{PERSONAL COMPUTER}" * (LONGEST // 4)):
        ((_, reason, _),) = (seen := Seen()).see("users", Users({name: "x"}).roll)
        assert reason == json.loads(line(seen.records[0]))["reason"] == f'"{name}"'
