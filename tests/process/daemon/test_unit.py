"""docs/operations.md, "As a service": the user, the folders and the systemd unit are followed to the letter.

There is no systemd where tests run. The kernel does the same here as it does for systemd: a file system of its own in
which nothing can be written but what the unit names, and the user that the commands of the page have made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.process.client import Tls
from tests.process.conftest import check_log
from tests.process.sites import ALICE
from tests.support import pki
from tests.support.daemon import ROOT, TWISTD, Daemon, free_port
from tests.web.fakes import basic, body
from tests.web.wire import EST

PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
SECTION = PAGE.split("\n## As a service\n")[1].split("\n## ")[0]
(UNIT,) = re.findall(r"^```ini\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
FOLDERS, OWNERS = re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
(TOKEN,) = re.findall(
    r"runuser -u kipuka -- (kipuka token add /var/lib/kipuka/tokens ops \S+ \S+ \S+ \S+)",
    (ROOT / "docs/admin-api.md").read_text("utf-8"),
)
PROGRAMS = ("unshare", "mount", "chroot", "setpriv", "useradd", "bash")

WRITABLE = {"StateDirectory": "/var/lib", "LogsDirectory": "/var/log", "CacheDirectory": "/var/cache"}
"""Where systemd makes what is named so, for the user of the service."""
DOCUMENTS = [*sorted((ROOT / "conf").glob("**/*.toml")), *sorted((ROOT / "docs").glob("*.md"))]


def lines(unit: str) -> dict[str, list[str]]:
    """The settings of a unit, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


SETTINGS = lines(UNIT)


def writable() -> list[str]:
    own = [f"{WRITABLE[key]}/{name}" for key in WRITABLE for name in " ".join(SETTINGS.get(key, ())).split()]
    return own + " ".join(SETTINGS.get("ReadWritePaths", ())).split()


def configurations(path: Path) -> Iterator[dict[str, Any]]:
    """The configurations in a file that are whole and installed where the page says."""
    text = path.read_text("utf-8")
    blocks = [text] if path.suffix == ".toml" else re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        if "\n[tls]\n" in f"\n{block}" and '"/etc/kipuka/' in block:
            yield tomllib.loads(block)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_configuration_has_written_is_where_the_unit_allows_it(path: Path) -> None:
    for config in configurations(path):
        tables = {name: config.get(name, {}) for name in ("db", "admin", "audit")}
        url = tables["db"].get("url", "sqlite:////etc/kipuka/kipuka.db")
        files = [tables["admin"].get("tokens"), tables["audit"].get("file"), url.removeprefix("sqlite:///")]
        for file in filter(None, files):
            assert not file.startswith("/") or str(Path(file).parent) in writable(), f"{file} cannot be written"


def test_the_search_for_configurations_finds_some() -> None:
    assert sum(len(list(configurations(path))) for path in DOCUMENTS) >= 5


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true":
        pytest.skip("not installed: systemd-analyze")
    unit = tmp_path / "kipuka.service"
    switched_on = re.sub(r"^#(?=\w+=)", "", UNIT, flags=re.MULTILINE)
    unit.write_text(re.sub(r"/opt/kipuka/bin/\w+", "/bin/true", switched_on))
    command = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert [line for line in (done.stdout + done.stderr).splitlines() if "kipuka" in line] == []
    assert done.returncode == 0


SANDBOX = r"""
set -euo pipefail
exec 3>&1 >&2
mount -t tmpfs -o mode=755 sandbox "$NEW"
cd "$NEW"
mkdir -p etc opt/kipuka/bin run var/lib var/log var/cache var/tmp tmp root home proc dev
chmod 1777 tmp var/tmp
cp -a /etc/. etc/; rm -rf etc/kipuka
for each in /usr /bin /sbin /lib*; do
  if [ -L "$each" ]; then cp -P "$each" .; else mkdir -p ".$each"; mount --rbind -o ro "$each" ".$each"; fi
done
mount --rbind /proc proc; mount --rbind /dev dev
for each in $TREES; do mkdir -p ".$each"; mount --bind -o ro "$each" ".$each"; done
printf '#!/bin/sh\nexec env PYTHONPATH=%s %s -m kipuka "$@"\n' "$TREE" "$PYTHON" > opt/kipuka/bin/kipuka
printf '#!/bin/sh\nexec env PYTHONPATH=%s %s %s "$@"\n' "$TREE" "$PYTHON" "$TWISTD" > opt/kipuka/bin/twistd
chmod +x opt/kipuka/bin/*

inside() { chroot . /usr/bin/env -i PATH=/opt/kipuka/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
as_user() { chroot . setpriv --reuid="$RUN_AS" --regid="$RUN_AS" --init-groups --no-new-privs "$@"; }
environment() { echo env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin USER="$RUN_AS"; }

inside bash -euc "$FOLDERS"
cp -r "$INSTALLED"/. etc/kipuka/
inside bash -euc "$OWNERS"
as_user $(environment) /opt/kipuka/bin/$TOKEN > "$TOLD"

for each in $WRITABLE /tmp /var/tmp; do
  [ -d ".$each" ]
  mount --rbind ".$each" ".$each"
done
mount -o remount,bind,ro .
as_user $(environment) $PRE
exec 1>&3
exec chroot . setpriv --reuid="$RUN_AS" --regid="$RUN_AS" --init-groups --no-new-privs $(environment) $START
"""
"""The page's commands, and then what systemd does for a service with User=, ProtectSystem=strict, ProtectHome=yes,
PrivateTmp=yes and NoNewPrivileges=yes."""


def installation(folder: Path, port: int) -> Path:
    """What lies in /etc/kipuka: an example of conf/ with the places for all that is written, and its files."""
    for name in ("tls", "ca"):
        (folder / name).mkdir(parents=True)
    authority = pki.root("CN=Example CA")
    authority.write(folder / "ca", "ca")
    authority.server().write(folder / "tls", "server")
    hashed = bcrypt.hashpw(ALICE[1].encode(), bcrypt.gensalt(4)).decode()
    (folder / "users").write_text(f"{ALICE[0]}:{hashed}\n")
    complete = tomllib.loads((ROOT / "conf/kipuka.toml").read_text("utf-8"))
    config = folder / "kipuka.toml"
    config.write_text(
        (ROOT / "conf/examples/local-ca.toml").read_text("utf-8")
        + f'\n[server]\nlisten = "127.0.0.1:{port}"\n'
        + f'\n[admin]\ntokens = "{complete["admin"]["tokens"]}"\n'
        + f'\n[audit]\nfile = "{complete["audit"]["file"]}"\n'
    )
    return config


def test_the_unit_of_the_page_runs(tmp_path: Path) -> None:
    if os.environ.get("CI") != "true":
        if os.geteuid() != 0:
            pytest.skip("only root can make users and mounts")
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            pytest.skip(f"not installed: {', '.join(missing)}")
    assert SETTINGS["ProtectSystem"] == ["strict"]
    assert SETTINGS["ProtectHome"] == SETTINGS["PrivateTmp"] == SETTINGS["NoNewPrivileges"] == ["yes"]
    (user,), (start,), (pre,) = SETTINGS["User"], SETTINGS["ExecStart"], SETTINGS["ExecStartPre"]
    config = installation(tmp_path / "installed", free_port())
    (tmp_path / "new").mkdir()
    environment = {
        "NEW": str(tmp_path / "new"),
        "INSTALLED": str(config.parent),
        "TREES": " ".join(sorted({sys.prefix, sys.base_prefix, str(ROOT)} - {"/usr"})),
        "TREE": str(ROOT),
        "PYTHON": sys.executable,
        "TWISTD": str(TWISTD),
        "FOLDERS": FOLDERS,
        "OWNERS": OWNERS,
        "TOKEN": TOKEN,
        "TOLD": str(tmp_path / "told"),
        "RUN_AS": user,
        "WRITABLE": " ".join(writable()),
        "PRE": pre,
        "START": start,
    }
    assert "'" not in shlex.join([*pre.split(), *start.split()])  # words without quoting, for the shell below
    # "--config FILE", which Daemon adds, goes to the shell, which does not look at it.
    sandbox = ["unshare", "--mount", "--propagation", "private", "bash", "-c", SANDBOX]
    with Daemon(config, environment=environment, through=sandbox, log=tmp_path / "log") as daemon:
        token = (tmp_path / "told").read_text().split()[-1]
        with Tls(daemon.port, config.parent / "ca/ca.pem").connect() as connection:
            csr = body(pki.csr(pki.ec_key(), f"CN={ALICE[0]}"))
            assert connection.post(f"{EST}/simpleenroll", csr, authorization=basic(*ALICE)).status == 200
            listed = connection.get("/admin/enrollments", authorization=f"Bearer {token}")
            assert [each["subject"] for each in json.loads(listed.body)["items"]] == [f"CN={ALICE[0]}"]
        inside = Path(f"/proc/{daemon.process.pid}/root")
        written = ["var/lib/kipuka/kipuka.db", "var/lib/kipuka/tokens.used", "var/log/kipuka/audit.json"]
        found = [(inside / each).stat() for each in written]
        assert all(each.st_size for each in found)
        assert {each.st_uid for each in found} == {Path(f"/proc/{daemon.process.pid}").stat().st_uid} != {0}
    check_log(daemon)
    assert "cannot be written" not in daemon.log_text()
