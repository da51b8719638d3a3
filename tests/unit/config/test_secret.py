"""Secrets by reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.config.secret import Secret, SecretError


def test_file(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("pass word \r\n")
    secret = Secret.parse("file:s", tmp_path)
    assert secret.reveal({}) == "pass word "
    assert "pass word" not in repr(secret) + str(secret)


def test_only_one_line_end_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a\n\n")
    assert Secret("file", str(tmp_path / "s")).reveal({}) == "a\n"


def test_env() -> None:
    assert Secret.parse("env:X", Path("/")).reveal({"X": "a:b"}) == "a:b"


def test_credential(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    assert Secret.parse("credential:key", Path("/")).reveal({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "s3cret"


@pytest.mark.parametrize(
    ("reference", "environ", "said"),
    [
        ("env:X", {}, "the environment variable X is not set"),
        ("env:X", {"X": ""}, "env:X is empty"),
        ("credential:x", {}, "LoadCredential=x:"),
        ("credential:x", {"CREDENTIALS_DIRECTORY": "/nonexistent"}, "cannot read /nonexistent/x: No such file"),
        ("file:nothing", {}, "cannot read /nonexistent/nothing: No such file"),
        ("file:/", {}, "cannot read /: Is a directory"),
    ],
)
def test_unreadable(reference: str, environ: dict[str, str], said: str) -> None:
    with pytest.raises(SecretError) as caught:
        Secret.parse(reference, Path("/nonexistent")).reveal(environ)
    assert said in str(caught.value)


def test_limits(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_bytes(b"x" * 65537)
    with pytest.raises(SecretError, match="too large"):
        Secret("file", str(file)).reveal({})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="not UTF-8"):
        Secret("file", str(file)).reveal({})
