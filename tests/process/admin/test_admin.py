"""The admin API of a real daemon: curl, tokens while it runs, client certificates, ports."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka import cli
from tests.process.client import Tls
from tests.process.conftest import check_log
from tests.process.ledger.site import until
from tests.process.sites import ALICE, Site
from tests.support import pki, requirements
from tests.support.daemon import Daemon, free_port
from tests.web.fakes import basic, body
from tests.web.wire import EST


class AdminSite(Site):
    """A site with tokens, administrators' certificates, and a port for them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.administrators = pki.root("CN=Administrators")
        (folder / "admin-ca.pem").write_bytes(pki.pem(self.administrators.certificate))
        self.admin_port = free_port()

    def token(self, capsys: pytest.CaptureFixture[str], *scopes: str) -> str:
        words = [word for scope in scopes for word in ("--scope", scope)]
        assert cli.main(["token", "add", str(self.folder / "tokens"), "-".join(scopes), *words]) == 0
        return capsys.readouterr().out.split()[-1]

    def enroll(self, subject: str = "CN=device-1") -> None:
        with self.client().connect() as connection:
            csr = body(pki.csr(pki.ec_key(), subject))
            assert connection.post(f"{EST}/simpleenroll", csr, authorization=basic(*ALICE)).status == 200

    def shown(self, identity: pki.Identity) -> tuple[str, ...]:
        """How curl shows a client certificate."""
        files = identity.write(self.folder, "shown")
        return "--cert", str(files.certificate), "--key", str(files.key)

    def curl(self, path: str, *words: str, port: int | None = None) -> tuple[int, Any]:
        """The status and the value that curl gets."""
        url = f"https://localhost:{port or self.admin_port}{path}"
        trusted = ["--cacert", str(self.folder / "tls-root.pem"), "--max-time", "20", "--silent", "--show-error"]
        command = ["curl", *trusted, "--write-out", "\n%{http_code}", *words, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        text, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(text)


@pytest.fixture
def own(tmp_path: Path) -> AdminSite:
    requirements.programs("curl")
    return AdminSite(tmp_path)


def bearer(token: str) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {token}"


def test_a_port_of_its_own(own: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    token = own.token(capsys, "read", "revoke")
    withdrawn = own.administrators.client("CN=Eve")
    crl = own.administrators.crl([withdrawn.certificate])
    (own.folder / "admin-crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
    own.write(
        client_auth={"crl": ["admin-crl.pem"]},
        admin={"tokens": "tokens", "trust_anchors": "admin-ca.pem", "listen": f"127.0.0.1:{own.admin_port}"},
    )
    with Daemon(own.config) as daemon:
        own.enroll()
        status, listed = own.curl("/admin/enrollments?limit=1", *bearer(token))
        assert (status, listed["items"][0]["subject"]) == (200, "CN=device-1")
        status, listed = own.curl("/admin/certs", *bearer(token))
        serial = listed["items"][0]["serial"]
        assert own.curl(f"/admin/certs/{serial}", *bearer(token))[1]["subject"] == "CN=device-1"
        posted = ("-X", "POST", "-H", "Content-Type: application/json", "-d", "{}")
        assert own.curl("/admin/enrollments/1/abandon", *bearer(token), *posted)[1]["state"] == "closed"
        assert own.curl("/admin/enrollments")[0] == 401

        # EST is not there, and the admin API is not at EST's port.
        status, told = own.curl(f"{EST}/cacerts", *bearer(token))
        assert (status, told["error"]) == (404, "not_found")
        assert "EST is at another port" in told["message"]
        # There whoever looks for it is told where to look.
        for path in ("/admin/ca", "/health/ready", "/metrics"):
            status, told = own.curl(path, *bearer(token), port=own.port)
            assert (status, told["error"]) == (404, "not_found")
            assert "at the admin port" in told["message"]

        # Certificates of the administrators' CA are let in; the handshake refuses others.
        ada = own.administrators.client("CN=Ada")
        assert own.curl("/admin/ca", *own.shown(ada))[1]["items"][0]["id"] == "main"
        for refused in (own.device(), withdrawn):
            stranger = Tls(own.admin_port, own.folder / "tls-root.pem", refused)
            with pytest.raises((ssl.SSLError, ConnectionError)), stranger.connect() as connection:
                connection.get("/admin/ca")
        with own.client(own.device()).connect() as connection:  # whose CA has no CRL
            assert connection.get(f"{EST}/cacerts").status == 200
    assert "serving admin on" in daemon.log_text()
    assert token not in daemon.log_text()
    check_log(daemon)


def test_on_the_est_port_a_device_is_no_administrator(own: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    token = own.token(capsys, "read")
    own.write(
        client_auth={"trust_anchors": ["ca.pem", "admin-ca.pem"]},
        admin={"tokens": "tokens", "trust_anchors": "admin-ca.pem"},
    )
    with Daemon(own.config) as daemon:
        assert own.curl("/admin/ca", *bearer(token), port=own.port)[0] == 200
        assert own.curl("/admin/revoke", *bearer(token), "-d", "x", port=own.port)[0] == 415
        ada, device = own.administrators.client("CN=Ada"), own.device()
        assert own.curl("/admin/ca", *own.shown(ada), port=own.port)[0] == 200
        assert own.curl("/admin/ca", *own.shown(device), port=own.port)[0] == 401
        with own.client(device).connect() as connection:
            assert connection.get(f"{EST}/cacerts").status == 200
    check_log(daemon)


def test_a_port_of_its_own_for_which_the_rest_of_the_file_cannot_wait(own: AdminSite) -> None:
    both, admin = ["ca.pem", "admin-ca.pem"], {"trust_anchors": "admin-ca.pem"}
    own.write(client_auth={"trust_anchors": both}, admin=admin)
    with Daemon(own.config) as daemon:
        own.write(client_auth={"trust_anchors": ["ca.pem"]}, admin=admin | {"listen": f"127.0.0.1:{own.admin_port}"})
        daemon.reload(well=False)
        assert "not used: admin.listen: waits for a restart" in daemon.log_text()
        assert "is not among" not in daemon.log_text()  # that has been put right in the file
        own.write(client_auth={"trust_anchors": ["ca.pem"]}, admin=admin)
        daemon.reload(well=False)
        assert "CN=Administrators is not among tls.client_auth.trust_anchors" in daemon.log_text()
    check_log(daemon)


def test_the_audit_can_be_read_page_by_page(own: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    token = own.token(capsys, "read", "revoke")
    own.write(admin={"tokens": "tokens"})
    posted = ("-X", "POST", "-H", "Content-Type: application/json", "-d", "{}")

    def read(query: str) -> Any:
        status, found = own.curl(f"/admin/audit?{query}", *bearer(token), port=own.port)
        assert status == 200, found
        return found

    with Daemon(own.config) as daemon:
        own.enroll()
        assert own.curl("/admin/enrollments/1/abandon", *bearer(token), *posted, port=own.port)[0] == 200
        assert own.curl("/admin/ca", *bearer("x"), port=own.port)[0] == 401
        until(lambda: bool(read("event=admin%20refusal")["items"]), 10, "the refusal was not written down")

        (granted,) = read("event=enrollment%20granted&ca_id=main&who=alice")["items"]
        assert (granted["enrollment"], granted["subject"]) == (1, "CN=device-1")
        (ended,) = read("event=admin%20action")["items"]
        assert (ended["caller"], ended["enrollment"], ended["outcome"]) == ("token:read-revoke", 1, "done")
        (refused,) = read("event=admin%20refusal")["items"]
        assert (refused["kind"], refused["outcome"]) == ("unauthenticated", "refused")
        assert read("since=2100-01-01T00:00:00Z") == {"items": [], "next": None}

        (abandoned,) = read("event=enrollment%20abandoned")["items"]
        assert abandoned["reference"] == ended["reference"]
        page = read("limit=2")
        records = page["items"]
        while page["next"] is not None:
            page = read(f"limit=2&cursor={page['next']}")
            records += page["items"]
        assert [each["id"] for each in records] == list(range(len(records), 0, -1))
        assert {"started", "enrollment taken", "enrollment granted"} <= {each["event"] for each in records}
        status, told = own.curl("/admin/audit?event=x", *bearer(token), port=own.port)
        assert (status, "enrollment granted" in told["message"]) == (400, True)
    check_log(daemon)


def test_tokens_change_while_it_runs(own: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    token = own.token(capsys, "read")
    own.write(admin={"tokens": "tokens"})
    file = str(own.folder / "tokens")
    with Daemon(own.config) as daemon:
        assert own.curl("/admin/ca", *bearer(token), port=own.port)[0] == 200
        cli.main(["token", "list", file])
        assert "never" not in capsys.readouterr().out
        later = own.token(capsys, "read", "revoke")
        assert own.curl("/admin/ca", *bearer(later), port=own.port)[0] == 200
        cli.main(["token", "remove", file, "read"])
        assert own.curl("/admin/ca", *bearer(token), port=own.port)[0] == 401
        assert own.curl("/admin/ca", *bearer(later), port=own.port)[0] == 200
        (own.folder / "users").write_text("")
        daemon.reload()
    records = [json.loads(each) for each in re.findall(r"\[kipuka\.audit#info\] (\{.*)", daemon.log_text())]
    assert records[0]["event"] == "started"
    assert [
        (each["operation"], each["outcome"], each["reason"]) for each in records if each["event"] == "configured"
    ] == [
        ("users", "in force", '"alice"'),
        ("tokens", "in force", "read (read)"),
        ("tokens", "added", "read-revoke (read,revoke)"),
        ("tokens", "removed", "read (read)"),
        ("users", "removed", '"alice"'),
    ]
    check_log(daemon)


PAGE = """\
curl -X POST https://kipuka.example.com/admin/revoke \\
-H "Authorization: Bearer <admin-token>" \\
-H "Content-Type: application/json" \\
-d '{
"serial": "0x1A2B3C4D",
"reason": "keyCompromise"
}'
"""
"""The command of the user's page, to the letter."""


def test_the_command_of_the_page(own: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    token = own.token(capsys, "revoke")
    own.write(admin={"tokens": "tokens"})
    reading = own.token(capsys, "read")
    with Daemon(own.config) as daemon:
        own.enroll()
        (listed,) = own.curl("/admin/certs", *bearer(reading), port=own.port)[1]["items"]
        serial = listed["serial"]
        assert (listed["status"], listed["revoked"], listed["revocation_reason"]) == ("good", None, None)
        command = PAGE
        for printed, actual in {
            "kipuka.example.com": f"localhost:{own.port}",
            "<admin-token>": token,
            "0x1A2B3C4D": f"0x{serial[2:].upper()}",
        }.items():
            assert command.count(printed) == 1
            command = command.replace(printed, actual)
        for outcome in ("revoked", "already revoked"):
            trusting = {**os.environ, "CURL_CA_BUNDLE": str(own.folder / "tls-root.pem")}
            done = subprocess.run(
                ["/bin/sh", "-c", command], env=trusting, capture_output=True, text=True, timeout=30, check=True
            )
            told = json.loads(done.stdout)
            assert (told["serial"], told["ca_id"], told["outcome"]) == (serial, "main", outcome)
            assert told["reason"] == "keyCompromise"
        shown = own.curl(f"/admin/certs/{serial}", *bearer(reading), port=own.port)[1]
        assert (shown["status"], shown["revocation_reason"]) == ("revoked", "keyCompromise")
        assert shown["revoked"] == told["since"][:19] + "Z"
    check_log(daemon)


def test_it_is_off_without_tokens_and_trust_anchors(own: AdminSite) -> None:
    own.write()
    with Daemon(own.config) as daemon:
        status, told = own.curl("/admin/ca", port=own.port)
        assert (status, told["error"]) == (404, "not_found")
        assert "is off" in told["message"]
    check_log(daemon)
