from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kipuka import cli
from kipuka.access.credentials.token_file import TokenFile, uses_of, write_use
from kipuka.access.credentials.tokens import Scope, Tokens


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def add(file: Path, name: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert cli.main(["token", "add", str(file), name, *options]) == 0
    return capsys.readouterr().out.split()[-1]


def test_the_token_is_the_last_word_and_is_kept_as_a_hash_only(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = add(file, "monitor", capsys)
    assert Tokens.parse(file.read_text()).verify(secret).scopes == {Scope.READ}
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_scopes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = add(file, "robot", capsys, "--scope", "read", "--scope", "revoke")
    assert Tokens.parse(file.read_text()).verify(secret).scopes == {Scope.READ, Scope.REVOKE}


def test_a_name_is_given_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(file, "robot", capsys)
    before = file.read_text()
    assert cli.main(["token", "add", str(file), "robot"]) == 1
    assert "remove it first" in capsys.readouterr().err
    assert file.read_text() == before


def test_names_that_would_break_the_file_are_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", "two words", "#x", "a\nb"):
        assert cli.main(["token", "add", str(file), name]) == 1
    assert not file.exists()


def test_remove(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(file, "a", capsys)
    secret = add(file, "b", capsys)
    assert cli.main(["token", "remove", str(file), "a"]) == 0
    assert Tokens.parse(file.read_text()).verify(secret).name == "b"
    assert cli.main(["token", "remove", str(file), "a"]) == 1
    assert f"kipuka token list {file}" in capsys.readouterr().err


def test_list_shows_the_last_use_but_not_one_of_a_token_before(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = add(file, "used", capsys)
    add(file, "unused", capsys)
    add(file, "again", capsys)
    now = datetime.now(UTC)
    TokenFile(file, pytest.fail).verify(secret, now)
    write_use(uses_of(file), "again", now - timedelta(days=1))
    assert cli.main(["token", "list", str(file)]) == 0
    head, used, unused, again = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["NAME", "SCOPES"]
    assert used.endswith(f"{now:%Y-%m-%d %H:%M}")
    assert unused.endswith("never")
    assert again.endswith("never")
    assert secret not in used


def test_a_damaged_file_is_not_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("nonsense\n")
    for words in (["add", str(file), "a"], ["remove", str(file), "a"], ["list", str(file)]):
        assert cli.main(["token", *words]) == 1
        assert "line 1: expected NAME SCOPES CREATED HASH" in capsys.readouterr().err
    assert file.read_text() == "nonsense\n"
