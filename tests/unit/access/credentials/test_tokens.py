"""Tokens, the file a daemon follows, and the counting of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kipuka.access.credentials.token_file import TokenFile, read_uses, uses_of
from kipuka.access.credentials.tokens import (
    PREFIX,
    Scope,
    Token,
    Tokens,
    TokensFileError,
    hash_token,
    new_token,
    with_token,
    without_token,
)
from kipuka.access.failures import MOST_ADDRESSES, Failures
from kipuka.errors import Kind, RequestError

NOW = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
SECRET, OTHER = new_token(), new_token()


def entry(name: str, secret: str, *scopes: Scope) -> Token:
    return Token(name, frozenset(scopes or [Scope.READ]), NOW, hash_token(secret))


def test_a_token_has_256_bits_and_a_prefix_for_scanners() -> None:
    assert SECRET.startswith(PREFIX)
    assert len(SECRET) == len(PREFIX) + 43  # 43 digits of 6 bits
    assert SECRET != OTHER


def test_what_was_added_is_verified() -> None:
    text = with_token("# ours\n", entry("monitor", SECRET))
    text = with_token(text, entry("robot", OTHER, Scope.READ, Scope.REVOKE))
    tokens = Tokens.parse(text)
    assert tokens.verify(SECRET).name == "monitor"
    robot = tokens.verify(OTHER)
    assert (robot.name, robot.scopes, robot.created) == ("robot", {Scope.READ, Scope.REVOKE}, NOW)
    assert SECRET not in text
    assert hash_token(SECRET) not in repr(tokens.get("monitor"))


@pytest.mark.parametrize(
    "wrong", ["", SECRET[:-1], SECRET + "A", new_token(), hash_token(SECRET), "kipuka_ü", SECRET.upper()]
)
def test_everything_else_is_refused(wrong: str) -> None:
    tokens = Tokens([entry("monitor", SECRET)])
    with pytest.raises(RequestError) as refused:
        tokens.verify(wrong)
    assert refused.value.kind is Kind.UNAUTHENTICATED


def test_removing_leaves_the_rest_as_it_is() -> None:
    text = with_token(with_token("# ours\n", entry("a", SECRET)), entry("b", OTHER))
    assert without_token(text, "a") == with_token("# ours\n", entry("b", OTHER))
    with pytest.raises(KeyError):
        without_token(text, "c")


def test_every_bad_line_is_named_and_no_hash() -> None:
    good = entry("a", SECRET).line()
    lines = [
        good,
        good,
        "a b",
        good.replace("a ", "ä ", 1),
        good.replace(" read ", " write "),
        good[:-1],
        "x read now " + good.split()[-1],
    ]
    with pytest.raises(TokensFileError) as bad:
        Tokens.parse("\n".join(lines))
    assert [fault.partition(":")[0] for fault in bad.value.faults] == [f"line {number}" for number in range(2, 8)]
    assert "twice" in bad.value.faults[0]
    assert 'no scope "write"' in bad.value.faults[3]
    assert hash_token(SECRET)[7:] not in str(bad.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(with_token("", entry("monitor", SECRET)))
    return path


def test_a_removed_token_is_good_for_nothing_at_once(path: Path) -> None:
    warnings: list[str] = []
    file = TokenFile(path, warnings.append)
    assert file.verify(SECRET, NOW).name == "monitor"
    path.write_text(with_token("", entry("robot", OTHER)))
    with pytest.raises(RequestError) as refused:
        file.verify(SECRET, NOW)
    assert refused.value.kind is Kind.UNAUTHENTICATED
    assert file.verify(OTHER, NOW).name == "robot"
    assert not warnings


def test_who_has_a_token_is_told_before_the_first_use_of_a_changed_file(path: Path) -> None:
    told: list[list[str]] = []
    file = TokenFile(path, lambda _: None, lambda roll: told.append(list(roll)))
    assert list(file.roll()) == ["monitor (read)"]
    file.verify(SECRET, NOW)
    assert told == []
    path.write_text(with_token(path.read_text(), entry("robot", OTHER)))
    with pytest.raises(RequestError):
        file.verify("kipuka_wrong", NOW)
    assert told == [["monitor (read)", "robot (read)"]]
    file.verify(OTHER, NOW)
    assert len(told) == 1


@pytest.mark.parametrize("content", [None, b"what is this?\n", b"\xff\xfe"])
def test_a_file_that_cannot_be_used_lets_nobody_in(path: Path, content: bytes | None) -> None:
    file = TokenFile(path, lambda _: None)
    file.verify(SECRET, NOW)
    good = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(RequestError) as refused:
            file.verify(SECRET, NOW)
        assert refused.value.kind is Kind.INTERNAL
        assert str(path) in refused.value.cause
        assert str(path) not in refused.value.text
    path.write_bytes(good)
    assert file.verify(SECRET, NOW).name == "monitor"


def test_the_last_use_is_known_to_the_minute_and_the_tokens_file_is_not_touched(path: Path) -> None:
    before = path.stat()
    file = TokenFile(path, lambda _: None)
    file.verify(SECRET, NOW)
    file.verify(SECRET, NOW + timedelta(seconds=59))
    assert read_uses(uses_of(path)) == {"monitor": NOW}
    file.verify(SECRET, NOW + timedelta(seconds=60))
    assert read_uses(uses_of(path)) == {"monitor": NOW + timedelta(seconds=60)}
    assert uses_of(path).stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_processes_that_share_the_file_keep_each_others_times(path: Path) -> None:
    path.write_text(with_token(path.read_text(), entry("robot", OTHER)))
    one, two = TokenFile(path, lambda _: None), TokenFile(path, lambda _: None)
    one.verify(SECRET, NOW)
    two.verify(OTHER, NOW)
    two.verify(SECRET, NOW - timedelta(hours=1))  # its clock is behind
    assert read_uses(uses_of(path)) == {"monitor": NOW, "robot": NOW}


def test_it_works_where_last_uses_cannot_be_written(path: Path) -> None:
    uses_of(path).symlink_to("/dev/null")
    warnings: list[str] = []
    file = TokenFile(path, warnings.append)
    file.verify(SECRET, NOW)
    file.verify(SECRET, NOW + timedelta(hours=1))
    (warning,) = warnings
    assert "tokens.used" in warning


def test_more_failures_than_allowed_are_counted_for_a_while() -> None:
    failures = Failures(allowed=2, seconds=60)
    assert not failures.is_too_many(failures.count("192.0.2.1", 100))
    assert not failures.is_too_many(failures.count("192.0.2.1", 101))
    assert failures.is_too_many(failures.count("192.0.2.1", 130))
    assert failures.wait("192.0.2.1", 130) == 30
    assert not failures.is_too_many(failures.count("192.0.2.2", 130))
    assert not failures.is_too_many(failures.count("192.0.2.1", 160))


def test_a_network_of_ipv6_is_one_address() -> None:
    failures = Failures(allowed=1)
    failures.count("2001:db8::1", 0)
    assert failures.is_too_many(failures.count("2001:db8::2", 0))
    assert not failures.is_too_many(failures.count("2001:db8:0:1::1", 0))


def test_the_memory_for_addresses_is_bounded() -> None:
    failures = Failures(allowed=1)
    for number in range(MOST_ADDRESSES + 10):
        failures.count(f"client-{number}", 0)
    assert len(failures._failed) == MOST_ADDRESSES
    assert failures.count(f"client-{MOST_ADDRESSES}", 0) == 2
    assert failures.count("client-0", 0) == 1
