"""``kipuka audit verify``."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kipuka.cli import main
from kipuka.observe.audit.chain import read
from kipuka.observe.audit.file import AuditFile
from kipuka.store.store import Store
from tests.unit.config.texts import MINIMAL
from tests.unit.observe.audit.records import record


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five records in three files, the newest one first, as a shell sorts them."""
    path, found = tmp_path / "audit.json", []
    audit = AuditFile(path)
    for number in (2, 1):
        audit.append([record(1), record(2)])
        found.append(path.with_name(f"audit.json.{number}"))
        path.rename(found[-1])
    audit.append([record(5)])
    audit.close()
    return [path, *reversed(found)]


def link(file: Path) -> str:
    """The last record of a file as verify prints it."""
    entry = read(file.read_text().splitlines()[-1])
    return f"{entry.seq}:{entry.hash}"


def verify(*words: object) -> int:
    return main(["audit", "verify", *map(str, words)])


def test_good(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(*files) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "5 records, 1 to 5"
    assert out[1] == f"the last of them is {link(files[0])}"
    assert out[2] == "good"


def test_the_older_files_are_missing(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(files[1], files[0]) == 1
    out, err = capsys.readouterr()
    assert err == f"{files[1]} line 1: records 1 to 2 are missing\n"
    assert f"the one before them was {link(files[2])}" in out
    # Whoever has noted the record before them can prove that they are all there is after it.
    assert verify(files[1], files[0], "--after", link(files[2])) == 0
    assert verify(files[1], files[0], "--after", f"2:{'0' * 64}") == 1
    assert "record 3 does not follow this record 2" in capsys.readouterr().err
    assert verify(files[0], "--after", link(files[2])) == 1
    assert "records 3 to 4 are missing" in capsys.readouterr().err


def test_the_first_records_are_gone(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    files[2].write_text("".join(files[2].read_text().splitlines(keepends=True)[1:]))
    assert verify(*files) == 1
    assert capsys.readouterr().err == f"{files[2]} line 1: record 1 is missing\n"


def test_the_last_records_are_gone(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    noted, before = link(files[0]), link(files[1])
    assert verify(*files, "--last", noted) == 0
    assert verify(*files, "--last", before) == 0  # it has gone on since
    assert verify(files[1], files[2]) == 0  # nothing in the files says that there were more
    assert verify(files[1], files[2], "--last", noted) == 1
    assert f"record 5 with the hash {noted[2:]} is missing or another one" in capsys.readouterr().err
    assert verify(*files, "--last", f"5:{'0' * 64}") == 1


@pytest.mark.parametrize("words", [["--after", "2"], ["--last", "2:xyz"], ["--last", f"x:{'0' * 64}"]])
def test_a_record_is_noted_by_number_and_hash(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verify("file", *words)
    assert "expected a number, a colon and 64 hexadecimal digits" in capsys.readouterr().err


def test_compressed(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    packed = files[2].with_suffix(".gz")
    packed.write_bytes(gzip.compress(files[2].read_bytes()))
    assert verify(files[0], files[1], packed) == 0
    packed.write_bytes(packed.read_bytes()[:-20])
    assert verify(packed) == 1
    packed.write_bytes(b"x")
    assert verify(packed) == 1
    assert "cannot read" in capsys.readouterr().err


def test_a_flipped_byte(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    data = files[1].read_bytes()
    files[1].write_bytes(data.replace(b"device-2", b"device-3"))
    assert verify(*files) == 1
    out, err = capsys.readouterr()
    assert err == f"{files[1]} line 2: record 4 was changed\n"
    assert "good" not in out


def test_a_missing_file(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(files[0], files[2]) == 1
    assert capsys.readouterr().err == f"{files[0]} line 1: records 3 to 4 are missing\n"


@pytest.mark.parametrize("cut", [1, 30])
def test_a_file_that_was_cut(files: list[Path], capsys: pytest.CaptureFixture[str], cut: int) -> None:
    files[1].write_bytes(files[1].read_bytes()[:-cut])
    assert verify(*files) == 1
    assert "the last line has no end" in capsys.readouterr().err


def test_what_is_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"\xff\x00\n" + b"x" * 200_000 + b"\n")
    assert verify(other) == 1
    assert "line 1: is no record of an audit" in capsys.readouterr().err
    assert verify(tmp_path / "none") == 1
    assert "No such file" in capsys.readouterr().err
    other.write_bytes(b"")
    assert verify(other) == 1
    assert capsys.readouterr() == ("", "there are no records\n")


def test_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "kipuka.toml"
    config.write_text(MINIMAL)
    assert verify("--config", config) == 1
    assert "there is no database" in capsys.readouterr().err
    store = Store.open(f"sqlite:///{tmp_path / 'kipuka.db'}")
    assert verify("--config", config) == 1
    assert "there are no records" in capsys.readouterr().err
    store.audit.append([record(1), record(2)])
    assert verify("--config", config) == 0
    assert "2 records, 1 to 2" in capsys.readouterr().out
    with store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE seq = 2")
    store.close()
    assert verify("--config", config) == 1
    assert "the last record was 2" in capsys.readouterr().err


def test_something_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verify()
    assert "required" in capsys.readouterr().err
