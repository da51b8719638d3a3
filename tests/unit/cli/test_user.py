"""``kipuka user``: what it does to the file, and what it says."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kipuka import cli
from kipuka.access.credentials.users import Users
from kipuka.errors import RequestError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users"


def add(file: Path, name: str, password: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(password.encode())))
    return cli.main(["user", "add", str(file), name, "--password-stdin"])


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_add_list_remove(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(file, "alice", "p:q\r\n", monkeypatch) == 0
    assert add(file, "", "secret", monkeypatch) == 0
    users = Users.parse(file.read_text())
    users.verify("alice", "p:q")
    users.verify("", "secret")
    assert capsys.readouterr() == (f'{file}: user "alice" is added\n{file}: user "" is added\n', "")

    assert cli.main(["user", "list", str(file)]) == 0
    assert capsys.readouterr().out == "alice\n\n"

    assert cli.main(["user", "remove", str(file), "alice"]) == 0
    assert Users.parse(file.read_text()).names == ("",)
    assert capsys.readouterr().out == f'{file}: user "alice" is removed\n'


def test_add_again_changes_the_password(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(file, "alice", "old", monkeypatch)
    file.write_text("# the lab\n" + file.read_text() + "# end\n")
    capsys.readouterr()
    assert add(file, "alice", "new", monkeypatch) == 0
    assert capsys.readouterr().out == f'{file}: the password of "alice" is changed\n'
    lines = file.read_text().splitlines()
    assert (lines[0], lines[2], len(lines)) == ("# the lab", "# end", 3)
    users = Users.parse(file.read_text())
    users.verify("alice", "new")
    with pytest.raises(RequestError):
        users.verify("alice", "old")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, 0o640),
        (0o600, 0o600),
        (0o640, 0o640),
        (0o644, 0o640),
        (0o400, 0o600),
        (0o440, 0o640),
        (0o604, 0o600),
        (0o700, 0o600),
    ],
)
def test_mode(file: Path, monkeypatch: pytest.MonkeyPatch, before: int | None, after: int) -> None:
    if before is not None:
        file.touch()
        file.chmod(before)
    add(file, "alice", "x", monkeypatch)
    assert mode(file) == after


def test_replaced_in_one_step(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(file, "alice", "x", monkeypatch)
    with file.open() as before:
        old = before.read()
        add(file, "bob", "x", monkeypatch)
        before.seek(0)
        assert before.read() == old  # a reader that was at it sees the old file, whole
    assert [each.name for each in file.parent.iterdir()] == ["users"]


def test_a_link_stays_a_link(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    add(link, "alice", "x", monkeypatch)
    assert link.is_symlink()
    assert Users.parse(file.read_text()).names == ("alice",)


def test_nothing_changes_when_it_cannot_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(file, "alice", "x", monkeypatch)
    before = file.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert add(file, "bob", "x", monkeypatch) == 1
    assert capsys.readouterr().err == f"kipuka: cannot write {file}: No space left on device; nothing is changed\n"
    assert file.read_text() == before
    assert [each.name for each in file.parent.iterdir()] == ["users"]


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("a:b", "x", "a user name cannot hold a colon"),
        ("a\nb", "x", "a user name cannot hold control characters"),
        ("alice", "", "the password is empty"),
        ("alice", "\n", "the password is empty"),
        ("alice", "a\tb", "control characters"),
        ("alice", "x" * 763, "user name and password together are longer than 767 bytes of UTF-8; nothing is changed"),
        ("jürgen", "ü" * 381, "longer than 767 bytes"),
    ],
)
def test_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, password: str, said: str
) -> None:
    assert add(file, name, password, monkeypatch) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kipuka: ")
    assert said in err
    assert not file.exists()


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}])
@pytest.mark.parametrize(("password", "good"), [("pässword", True), (b"p\xe4ssword", False), (b"p\xff\xfe", False)])
def test_a_password_is_utf_8_in_every_locale(
    file: Path, locale: dict[str, str], password: str | bytes, good: bool
) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "LANG" and not key.startswith("LC_")}
    ended = subprocess.run(
        [sys.executable, "-m", "kipuka", "user", "add", str(file), "alice", "--password-stdin"],
        input=password if isinstance(password, bytes) else password.encode(),
        env=environment | locale,
        capture_output=True,
        timeout=60,
    )
    if good:
        assert (ended.returncode, ended.stderr) == (0, b"")
        Users.parse(file.read_text()).verify("alice", "pässword")
    else:
        assert (ended.returncode, ended.stderr) == (1, b"kipuka: the password is not UTF-8 text; nothing is changed\n")
        assert not file.exists()


def test_a_password_at_a_terminal_of_another_encoding(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def latin(_: str) -> str:
        return b"p\xe4ssword".decode()

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for typed in (latin, lambda _: b"p\xe4ssword".decode(errors="surrogateescape")):
        monkeypatch.setattr("getpass.getpass", typed)
        assert cli.main(["user", "add", str(file), "alice"]) == 1
        assert capsys.readouterr().err == "kipuka: the password is not UTF-8 text; nothing is changed\n"


def test_asked_twice_at_a_terminal(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["one", "two", "same", "same"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert cli.main(["user", "add", str(file), "alice"]) == 1
    assert "the two passwords differ" in capsys.readouterr().err
    assert not file.exists()
    assert cli.main(["user", "add", str(file), "alice"]) == 0
    Users.parse(file.read_text()).verify("alice", "same")


def test_not_asked_without_a_terminal(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    assert cli.main(["user", "add", str(file), "alice"]) == 1
    assert "--password-stdin" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["list"], ["remove"]])
def test_file_that_is_not_there(file: Path, action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["user", *action, str(file), *(["x"] if action == ["remove"] else [])]) == 1
    assert capsys.readouterr().err == f"kipuka: cannot read {file}: No such file or directory\n"


def test_directory_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(tmp_path / "no" / "users", "alice", "x", monkeypatch) == 1
    assert "cannot open the directory of" in capsys.readouterr().err


def test_directory_that_cannot_be_locked(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on_nfs(*_: int) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", on_nfs)
    assert add(file, "alice", "x", monkeypatch) == 1
    assert capsys.readouterr().err == f"kipuka: cannot lock the directory of {file}: Bad file descriptor\n"


def test_remove_somebody_unknown(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(file, "alice", "x", monkeypatch)
    assert cli.main(["user", "remove", str(file), "bob"]) == 1
    assert f'has no user "bob"; see kipuka user list {file}' in capsys.readouterr().err


def test_a_file_with_faults_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("bob:$apr1$x$y\n")
    assert add(file, "alice", "x", monkeypatch) == 1
    assert "line 1: the hash is Apache's MD5 (apr1)" in capsys.readouterr().err
    assert file.read_text() == "bob:$apr1$x$y\n"
