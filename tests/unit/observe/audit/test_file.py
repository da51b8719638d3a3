"""A chain in a file: appended, rotated, cut, full, shared."""

from __future__ import annotations

import fcntl
import gzip
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kipuka.observe.audit import file as audit_file
from kipuka.observe.audit.chain import BEGINNING, read, seal
from kipuka.observe.audit.file import AuditFile, AuditUnavailable
from tests.unit.observe.audit.records import chain, faults, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.json"


@pytest.fixture
def audit(path: Path) -> Iterator[AuditFile]:
    audit = AuditFile(path)
    yield audit
    audit.close()


def lines(*paths: Path) -> list[str]:
    return [line for path in paths for line in path.read_text("ascii").splitlines()]


@contextmanager
def full(path: Path, left: int) -> Iterator[None]:
    """No file may grow beyond this one and a few bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_appended_is_a_chain(path: Path, audit: AuditFile) -> None:
    written = [*audit.append([record(1), record(2)]), *audit.append([record(3)])]
    assert lines(path) == written
    assert faults(written) == []
    assert len(written) == 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_goes_on_after_a_restart(path: Path) -> None:
    for _ in range(3):
        audit = AuditFile(path)
        audit.append([record()])
        audit.close()
    assert len(lines(path)) == 3
    assert faults(lines(path)) == []


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("create", [False, True])
def test_it_goes_on_in_a_new_file_after_logrotate(path: Path, *, restarted: bool, create: bool) -> None:
    audit = AuditFile(path)
    moved = []
    for number in range(3):
        audit.append([record(1), record(2)])
        moved.append(path.with_name(f"audit.json-2026112{number}"))
        path.rename(moved[-1])
        os.utime(moved[-1], (number, number))
        if create:
            path.touch(0o640)
        if restarted:
            audit.close()
            audit = AuditFile(path)
    audit.append([record(9)])
    audit.close()
    assert audit.changes() == []
    assert [len(lines(each)) for each in (*moved, path)] == [2, 2, 2, 1]
    assert faults(lines(*moved, path)) == []


def test_what_lies_beside_it_and_is_no_audit_does_not_begin_the_chain_anew(path: Path) -> None:
    AuditFile(path).append([record(1), record(2)])
    moved = path.with_name("audit.json.1")
    path.rename(moved)
    os.utime(moved, (1, 1))
    path.with_name("audit.json.sha256").write_text("0123abcd  audit.json.1\n")
    AuditFile(path).append([record(3)])
    assert faults(lines(moved, path)) == []


def test_a_full_disk_leaves_no_half_of_a_record(path: Path, audit: AuditFile) -> None:
    audit.append([record(1)])
    for left in (0, 1, 100):
        with full(path, left), pytest.raises(AuditUnavailable, match="cannot be written: File too large"):
            audit.append([record(2), record(3)])
    audit.append([record(4)])
    assert faults(lines(path)) == []
    assert len(lines(path)) == 2


def test_a_file_that_cannot_be_made(path: Path) -> None:
    path.mkdir()
    audit = AuditFile(path)
    with pytest.raises(AuditUnavailable, match="Is a directory"):
        audit.append([record()])
    path.rmdir()
    path.symlink_to("/dev/full")
    with pytest.raises(AuditUnavailable, match="No space left on device"):
        audit.append([record()])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(AuditUnavailable):
        audit.append([record()])
    path.unlink()
    audit.append([record()])
    audit.close()
    assert faults(lines(path)) == []


@pytest.mark.parametrize("torn", [b"{", b'{"seq": 3, "time', b"\0" * 5000])
def test_a_line_that_a_crash_left_unfinished_is_dropped(path: Path, torn: bytes) -> None:
    AuditFile(path).append([record(1), record(2)])
    with path.open("ab") as opened:
        opened.write(torn)
    AuditFile(path).append([record(3)])
    assert faults(lines(path)) == []
    assert len(lines(path)) == 3


def test_a_first_line_that_a_crash_left_unfinished_is_dropped(path: Path) -> None:
    path.write_bytes(b'{"seq": 1, "time')
    AuditFile(path).append([record(1)])
    assert faults(lines(path)) == []


@pytest.mark.parametrize(
    "content",
    [b"one = 1\ntwo = 2", b"no end of line", b'one = 1\n{"seq": 1', b"SQLite format 3\0\n" + b"\0" * 5000, b"\n{"],
)
def test_a_file_of_somebody_else_stays_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(AuditUnavailable, match=rf"^the last line of {path} is no record of an audit: keep the file"):
        AuditFile(path).append([record(1)])
    assert path.read_bytes() == content


def test_what_somebody_else_added_without_an_end_of_line_is_kept(path: Path) -> None:
    AuditFile(path).append([record(1)])
    with path.open("ab") as opened:
        opened.write(b"a note")
    with pytest.raises(AuditUnavailable, match="is no record of an audit"):
        AuditFile(path).append([record(2)])
    assert path.read_bytes().endswith(b"\na note")


def test_nothing_is_added_to_a_file_whose_end_was_changed(path: Path) -> None:
    AuditFile(path).append([record(1), record(2)])
    changed = path.read_bytes().replace(b"device-2", b"device-9")
    path.write_bytes(changed)
    audit = AuditFile(path)
    with pytest.raises(AuditUnavailable, match=r"the last line of .* record 2 was changed: keep the file elsewhere"):
        audit.append([record(3)])
    path.write_bytes(changed + b"{")
    with pytest.raises(AuditUnavailable, match="record 2 was changed"):
        audit.append([record(3)])
    assert path.read_bytes() == changed + b"{"
    path.write_bytes(changed + b"x" * 100_000)
    with pytest.raises(AuditUnavailable, match="longer than any record"):
        audit.append([record(3)])
    assert path.read_bytes() == changed + b"x" * 100_000
    path.write_bytes(changed)
    path.rename(path.with_name("audit.json.kept"))
    audit.append([record(3)])
    assert read(lines(path)[0]).seq == 3
    assert faults(lines(path.with_name("audit.json.kept"), path)) == ["record 2 was changed"]


def test_records_that_are_cut_off_behind_its_back_are_missing_and_not_replaced(path: Path, audit: AuditFile) -> None:
    first, *_ = audit.append([record(1), record(2), record(3)])
    path.write_text(f"{first}\n")
    audit.append([record(4)])
    assert faults(lines(path)) == ["records 2 to 3 are missing"]
    assert audit.changes() == [f"{path} was cut short or exchanged; its last record was 3, and is 1 now"]
    assert audit.changes() == []


def test_a_file_that_is_emptied_under_it(path: Path, audit: AuditFile) -> None:
    audit.append([record(1), record(2)])
    os.truncate(path, 0)
    audit.append([record(3)])
    assert read(lines(path)[0]).seq == 3
    assert audit.changes() == [f"{path} was emptied; its last record was 2"]
    audit.append([record(4)])
    assert audit.changes() == []


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_deleted_under_it(path: Path, audit: AuditFile, *, create: bool) -> None:
    audit.append([record(1), record(2)])
    path.unlink()
    if create:
        path.touch()
    audit.append([record(3)])
    assert read(lines(path)[0]).seq == 3
    assert audit.changes() == [f"{path} was deleted; its last record was 2"]


@pytest.mark.parametrize("gone_on", [False, True])
def test_a_file_that_is_packed_long_after_it_was_moved_away(path: Path, *, gone_on: bool) -> None:
    busy, idle = AuditFile(path), AuditFile(path)
    busy.append([record(1)])
    idle.append([record(2)])
    first, second = path.with_name("audit.json-1"), path.with_name("audit.json-2")
    path.rename(first)
    busy.append([record(3)])
    path.rename(second)  # a week later, with delaycompress
    before = lines(first)
    path.with_name("audit.json-1.gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    if gone_on:
        busy.append([record(4)])
    idle.append([record(5)])
    assert faults([*before, *lines(second, path)]) == []
    assert busy.changes() == idle.changes() == []


@pytest.mark.parametrize("length", [0, 1, 2])
def test_what_was_moved_away_does_not_hide_that_the_next_is_deleted(path: Path, audit: AuditFile, length: int) -> None:
    audit.append([record(1), record(2)])
    others = [f"{line}\n" for line in chain(2)]  # which ends with another record 2
    path.with_name("audit.json-1").write_text("".join(others[:length]))
    path.unlink()
    audit.append([record(3)])
    assert audit.changes() == [f"{path} was deleted; its last record was 2"]


def test_an_older_copy_in_its_place(path: Path, audit: AuditFile) -> None:
    audit.append([record(1)])
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    audit.append([record(2)])
    path.rename(path.with_name("kept"))
    copy.rename(path)
    audit.append([record(3)])
    assert faults(lines(path)) == ["record 2 is missing"]
    assert audit.changes() == [f"{path} was cut short or exchanged; its last record was 2, and is 1 now"]


def test_another_chain_in_its_place(path: Path, audit: AuditFile) -> None:
    audit.append([record(1)])
    path.write_text(f"{seal(record(100), BEGINNING)[0]}\n")
    audit.append([record(2)])
    assert audit.changes() == [f"{path} was exchanged; it has another record 1 than was written to it"]


def test_what_failed_in_between_hides_no_change(path: Path, audit: AuditFile) -> None:
    audit.append([record(1)])
    os.truncate(path, 0)
    with full(path, 0), pytest.raises(AuditUnavailable):
        audit.append([record(2)])
    audit.append([record(2)])
    assert audit.changes() == [f"{path} was emptied; its last record was 1"]


def test_two_processes_write_one_chain(path: Path) -> None:
    audits = [AuditFile(path), AuditFile(path)]

    def write(audit: AuditFile) -> None:
        for _ in range(30):
            audit.append([record()])

    threads = [threading.Thread(target=write, args=(audit,)) for audit in audits]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(lines(path)) == 60
    assert faults(lines(path)) == []


def test_a_file_is_moved_away_from_two_processes(path: Path) -> None:
    one, other = AuditFile(path), AuditFile(path)
    one.append([record(1)])
    other.append([record(2)])
    path.rename(path.with_name("audit.json.1"))
    one.append([record(3)])  # which has not written the last one of the old file
    other.append([record(4)])
    assert faults(lines(path.with_name("audit.json.1"), path)) == []
    assert one.changes() == other.changes() == []


def test_a_lock_that_is_kept(path: Path, audit: AuditFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "_PATIENCE", 0.05)
    audit.append([record(1)])
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AuditUnavailable, match="another process has kept it locked"):
            audit.append([record(2)])
    audit.append([record(3)])
    assert len(lines(path)) == 2
