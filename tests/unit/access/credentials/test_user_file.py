"""kipuka.access.credentials.user_file: the file as it is counts, and the last good one when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from kipuka.access.credentials import user_file
from kipuka.access.credentials.user_file import UserFile
from kipuka.access.credentials.users import UsersFileError
from kipuka.errors import Kind, RequestError

HASHED = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"alice:{HASHED}\n")
    return path


def gets_in(file: UserFile, name: str) -> bool:
    try:
        file.verify(name, "secret")
    except RequestError as refused:
        assert refused.kind is Kind.UNAUTHENTICATED
        return False
    return True


def test_who_is_added_gets_in_and_who_is_removed_does_not(path: Path) -> None:
    file = UserFile(path, pytest.fail)
    assert (gets_in(file, "alice"), gets_in(file, "bob")) == (True, False)
    path.write_text(f"bob:{HASHED}\n")
    assert (gets_in(file, "alice"), gets_in(file, "bob")) == (False, True)


def test_who_is_in_the_file_is_told_before_the_first_use_of_a_changed_one(path: Path) -> None:
    told: list[list[str]] = []
    file = UserFile(path, pytest.fail, lambda roll: told.append(list(roll)))
    assert list(file.roll) == ['"alice"']
    gets_in(file, "alice")
    assert told == []
    path.write_text(path.read_text() + f"bob:{HASHED}\n")
    assert not gets_in(file, "nobody")
    assert gets_in(file, "bob")
    assert told == [['"alice"', '"bob"']]


def spoil(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "No such file"),
        (spoil(b"alice\nbob:$1$x\n"), "line 1: expected NAME:HASH; line 2: the hash is MD5-crypt"),
        (spoil(b"\xff\xfe"), "utf-8"),
        (spoil(b"#" * 1001), "larger than 1000 bytes"),
    ],
)
def test_a_broken_file_locks_nobody_out_and_is_told_of_once(
    path: Path, damage: Callable[[Path], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_file, "MOST_BYTES", 1000)
    warnings: list[str] = []
    told: list[object] = []
    file = UserFile(path, warnings.append, told.append)
    good = path.read_text()
    damage(path)
    for _ in range(2):
        assert (gets_in(file, "alice"), gets_in(file, "bob")) == (True, False)
    (warning,) = warnings
    assert str(path) in warning
    assert said in warning
    assert "$1$" not in warning
    assert told == []
    path.write_text(good.replace("alice", "bob"))
    assert (gets_in(file, "alice"), gets_in(file, "bob")) == (False, True)
    path.unlink(missing_ok=True)
    gets_in(file, "bob")
    assert len(warnings) == 2  # a new trouble


def test_a_daemon_does_not_begin_with_a_broken_file(path: Path) -> None:
    path.write_text("alice\n")
    with pytest.raises(UsersFileError):
        UserFile(path, pytest.fail)
