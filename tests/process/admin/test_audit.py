"""The audit of a running daemon: written, moved away, full, and verified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kipuka.observe.audit.record import AuditEvent
from tests.process.ledger.site import AUTO, RETRY_AFTER, Site, until
from tests.support.daemon import ROOT
from tests.support.dogtag.server import SUBMIT, DogtagServer

ENROLLED = ["enrollment taken", "enrollment granted", "enrollment", "enrollment written out"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "dogtag").mkdir()
    with DogtagServer(tmp_path / "dogtag") as dogtag:
        site = Site(tmp_path, dogtag)
        with site.config.open("a") as config:
            config.write('[audit]\nfile = "audit.json"\n')
        with site.daemon:
            yield site
        assert "Traceback" not in site.daemon.log_text(), site.daemon.log_tail()


def verify(*words: object) -> str:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "kipuka", "audit", "verify", *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (1 if done.stderr else 0), done
    return done.stderr


def audit_file(site: Site) -> Path:
    return site.config.with_name("audit.json")


def records(*files: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in files if file.is_file() for line in file.read_text("ascii").splitlines()]


def wait_for(file: Path, event: str, number: int = 1) -> None:
    until(lambda: [each["event"] for each in records(file)].count(event) >= number, 10, f"no {event} in {file}")


def test_an_enrollment_in_file_database_and_log(site: Site) -> None:
    file = audit_file(site)
    assert site.device("CN=first").ask(AUTO).status == 200
    wait_for(file, "enrollment written out")
    # The first probe of the CA comes when it comes, and who has credentials is told meanwhile.
    others = (AuditEvent.CA_STATE.value, AuditEvent.CONFIGURED.value)
    found = [each for each in records(file) if each["event"] not in others]
    assert found[0]["event"] == "started"
    assert sorted(str(each["event"]) for each in found[1:]) == sorted(ENROLLED)
    taken, answered = (
        next(each for each in found if each["event"] == name) for name in ("enrollment taken", "enrollment")
    )
    for each in (taken, answered):
        assert each["address"] == "127.0.0.1"
        assert str(each["tls"]).startswith("TLSv1.")
        assert each["cipher"]
        assert each["certificate"] == "CN=serial 1"
        assert each["certificate_issuer"] == "CN=Device Maker"
        assert str(each["certificate_serial"]).startswith("0x")
        assert each["subject"] == "CN=first"
    assert taken["reference"] == answered["reference"]
    assert taken["enrollment"] == answered["enrollment"]
    site.happened("granted")
    assert file.stat().st_mode & 0o777 == 0o600
    site.daemon.stop()
    assert records(file)[-1]["event"] == "stopped"
    assert verify(file) == ""
    assert verify("--config", site.config) == ""
    site.start()
    assert site.device().ask(AUTO).status == 200
    wait_for(file, "enrollment written out", 2)
    assert verify(file) == ""
    changed = file.read_bytes().replace(b"CN=first", b"CN=False", 1)
    file.write_bytes(changed)
    assert "was changed" in verify(file)


def test_a_file_that_logrotate_moves_away(site: Site) -> None:
    file, old = audit_file(site), audit_file(site).with_name("audit.json.1")
    assert site.device().ask(AUTO).status == 200
    wait_for(file, "enrollment written out")
    file.rename(old)
    assert site.device().ask(AUTO).status == 200
    wait_for(file, "enrollment written out")
    assert verify(file, old) == ""
    assert records(file)[0]["previous"] == records(old)[-1]["hash"]


@pytest.mark.parametrize("fault", ["a directory", "a full disk", "no directory"])
def test_what_cannot_be_recorded_is_not_issued(site: Site, fault: str) -> None:
    file, kept = audit_file(site), audit_file(site).with_name("audit.json.1")
    device = site.device()
    wait_for(file, "started")
    submitted = site.dogtag.calls()[SUBMIT]
    file.rename(kept)
    if fault == "a directory":
        file.mkdir()
    elif fault == "a full disk":
        file.symlink_to("/dev/full")
    else:
        file.symlink_to("none/audit.json")
    answer = device.ask(AUTO)
    assert (answer.status, answer.retry_after) == (503, RETRY_AFTER)
    assert answer.body.startswith(b"The server cannot write its audit at the moment: try again later.")
    assert site.dogtag.calls()[SUBMIT] == submitted
    assert site.dogtag.issued() == []
    site.logged(r"kipuka\.audit#critical\] the audit cannot be written")
    file.rmdir() if fault == "a directory" else file.unlink()
    assert device.ask(AUTO).status == 200
    assert len(site.dogtag.issued()) == 1
    wait_for(file, "enrollment written out")
    assert verify(file, kept) == ""
    assert {"refusal", "enrollment not sent"} <= {each["event"] for each in records(file)}  # what had to wait is there
    site.logged(r"the audit is written to .*audit\.json again")


def test_a_file_that_is_emptied_while_it_runs(site: Site) -> None:
    file = audit_file(site)
    assert site.device().ask(AUTO).status == 200
    wait_for(file, "enrollment written out")
    last = records(file)[-1]
    file.write_text("")
    assert site.device().ask(AUTO).status == 200
    wait_for(file, "audit file changed")
    site.logged(r"kipuka\.audit#critical\] the audit was changed by somebody else: .*audit\.json was emptied")
    wait_for(file, "enrollment written out")
    assert "records 1 to " in verify(file)
    assert verify(file, "--after", f"{last['seq']}:{last['hash']}") == ""


def test_a_refusal_does_not_wait_for_the_audit(site: Site) -> None:
    file = audit_file(site)
    wait_for(file, "started")
    file.rename(file.with_name("audit.json.1"))
    file.mkdir()
    assert site.device(user="nobody").ask(AUTO).status == 401
    site.happened("password refused")
    file.rmdir()
    wait_for(file, "password refused")
