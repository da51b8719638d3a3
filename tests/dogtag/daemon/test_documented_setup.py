"""docs/dogtag.md: sections 1 to 4 are followed to the letter on the lab's server, and the doctor likes section 5."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dogtag.lab_control import command
from tests.dogtag.lab_export import Lab, folder
from tests.support.daemon import ROOT

PAGE = (ROOT / "docs/dogtag.md").read_text("utf-8")
SETUP, REST = PAGE.split("\n## 5. ")
COMMANDS = "\n".join(re.findall(r"^```sh\n(.*?)^```", SETUP, re.MULTILINE | re.DOTALL))
(CONFIGURATION,) = re.findall(r"^```toml\n(.*?)^```", REST, re.MULTILINE | re.DOTALL)
(REMOVAL,) = re.findall(r"When all is done: `(rm .*)`", SETUP)
NAMES = ("kipuka-agent", "estDevices", "estECDevices")


class Server:
    """The lab's machine, and a folder in it.

    :param suffix: what the page's names get, for the lab has a kipuka-agent of its own.
    """

    def __init__(self, lab: Lab, suffix: str) -> None:
        self._url = lab.url
        self._suffix = suffix
        self.work = f"/root/{suffix}"
        self.folder = folder().parent / "rootfs" / self.work[1:]

    def here(self, text: str) -> str:
        for name in NAMES:
            text = re.sub(rf"\b{name}\b", name + self._suffix, text)
        return text.replace("https://dogtag.example.com:8443", self._url)

    def run(self, commands: str) -> None:
        text = f"set -euo pipefail; export HOME=/root; mkdir -p {self.work}; cd {self.work}\n{self.here(commands)}"
        command("enter", "bash", "-c", text)


@pytest.fixture
def server(lab: Lab) -> Iterator[Server]:
    server = Server(lab, uuid.uuid4().hex[:8])
    server.run(". /opt/lab/lab.env; printf '%s\\n' \"$LAB_PASSWORD\" > p12.password")
    yield server
    variables = "\n".join(re.findall(r"^(?:URL|ADMIN)=.*$", COMMANDS, re.MULTILINE))
    profiles = [f"$ADMIN ca-profile-{what} {name}" for name in NAMES[1:] for what in ("disable", "del")]
    undo = " || true\n".join([variables, *profiles, f"$ADMIN ca-user-del {NAMES[0]}", REMOVAL])
    server.run(f"{undo}\ncd /; rm -r {server.work}")


def test_the_set_up_of_the_page(server: Server, lab: Lab, tmp_path: Path) -> None:
    server.run(COMMANDS)
    for each in (tmp_path / "tls", tmp_path / "dogtag"):
        each.mkdir()
    for name in (
        "dogtag/agent.pem",
        "dogtag/agent-key.pem",
        "dogtag/ca-chain.pem",
        "tls/server.pem",
        "tls/server-key.pem",
    ):
        (tmp_path / name).write_bytes((server.folder / Path(name).name).read_bytes())
    (tmp_path / "users").touch()
    config = tmp_path / "kipuka.toml"
    config.write_text(
        server.here(CONFIGURATION).replace("/etc/kipuka", str(tmp_path)).replace("/var/lib/kipuka", str(tmp_path))
    )
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "kipuka", "doctor", str(config), "--enroll", "--json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    findings = [f"{each['subject']}: {each['text']}" for each in said if "level" in each]
    assert done.returncode == 0, findings
    tried = [each for each in findings if "the test enrollment with profile" in each]
    assert any("the server's certificate is for est.example.com, issued by" in each for each in findings), findings
    for name in NAMES[1:]:
        profile = server.here(name)
        assert any(f"profile {profile} was issued at once, with the subjectAltName" in each for each in tried), tried
