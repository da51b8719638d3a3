"""``kipuka doctor`` against the real Dogtag: what is good is said to be, and each planted fault is found.

A stopped LDAP server is in test_doctor_ldap_down.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from kipuka.cli.doctor.checks.dogtag import Circumstances, examine
from kipuka.cli.doctor.findings import Finding, Level
from kipuka.config.model import DogtagCa
from tests.dogtag.lab_control import command
from tests.dogtag.lab_export import Account, Lab
from tests.support import pki
from tests.support.daemon import ROOT, free_port
from tests.support.dogtag.contract import connections_closed

DISABLED = "caCrossSignedCACert"


@dataclass
class Report:
    """What the doctor said. ``lines`` are "subject: text" by level."""

    code: int
    lines: dict[str, list[str]]

    def only_fault(self) -> str:
        assert self.code == 1
        (line,) = self.lines["fault"]
        return line


class Patient:
    """A configuration for the lab, and the doctor's opinion of it."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.folder = folder
        self.lab = lab
        pki.root().server().write(folder, "server")

    def examined(self, *options: str, account: Account | None = None, label: str = "", **ca: object) -> Report:
        account = account or self.lab.agent
        table = {
            "id": "lab",
            "type": "dogtag",
            "url": self.lab.url,
            "agent_cert": str(account.certificate),
            "agent_key": str(account.key),
            "ca_cert": str(self.lab.ca_chain),
            "profile": "kipukaServer",
            "timeout": "20s",
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in (table | ca).items()]
        config = self.folder / "kipuka.toml"
        config.write_text(
            '[tls]\ncert = "server.pem"\nkey = "server-key.pem"\n'
            f'[tls.client_auth]\ntrust_anchors = "{self.lab.ca_chain}"\n[[ca]]\n' + "\n".join(lines) + "\n" + label
        )
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", "kipuka", "doctor", str(config), "--json", *options],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stderr == ""
        findings = [each for each in map(json.loads, done.stdout.splitlines()) if "level" in each]
        assert all(each["remedy"] for each in findings if each["level"] != "ok")
        lines_by_level: dict[str, list[str]] = {"ok": [], "warning": [], "fault": []}
        for each in findings:
            lines_by_level[each["level"]].append(f"{each['subject']}: {each['text']}")
        return Report(done.returncode, lines_by_level)


@pytest.fixture
def patient(tmp_path: Path, lab: Lab) -> Patient:
    return Patient(tmp_path, lab)


def label(name: str, profile: str, **keys: object) -> str:
    values = {"name": name, "ca_id": "lab", "dogtag_profile": profile, **keys}
    return "[[est.label]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def test_good(patient: Patient) -> None:
    found = patient.examined(label=label("slow", "kipukaServerManual", san_pattern="DNS:{cn}"))
    assert (found.code, found.lines["fault"]) == (0, [])
    for text in (
        "ca lab: its clock and this machine's agree",
        "ca lab: its directory server works: the CA finds its own certificate",
        "ca lab: its certificates are found by their names",
        'ca lab: the agent certificate is that of the user "kipuka-agent", in "Certificate Manager Agents"',
        "ca lab: the path for Full CMC answers",
        "label slow: the profile kipukaServerManual copies the subjectAltName of the request",
        "no label: the profile kipukaServer issues at once (AgentCertAuth)",
    ):
        assert text in found.lines["ok"]
    assert any("kipukaServerManual waits for an agent's approval" in each for each in found.lines["ok"])


def test_enrollment_leaves_nothing_valid(patient: Patient, lab: Lab) -> None:
    found = patient.examined("--enroll", label=label("slow", "kipukaServerManual"))
    assert found.code == 0
    told = " ".join(found.lines["ok"])
    assert "was issued at once, with the subjectAltName it asked for, as 0x" in told
    assert "was revoked" in told
    assert "was cancelled" in told
    assert not any("remains" in each for each in found.lines["warning"])


def test_registration_manager_issues_by_its_profiles_only(patient: Patient, lab: Lab) -> None:
    """Hidden profiles are shown to CA agents only; to this one Dogtag says that there are none."""
    found = patient.examined(account=lab.ra, label=label("ra", "caRAserverCert"))
    assert "no label: the profile kipukaServer issues to" in found.only_fault()
    assert any("label ra: the profile caRAserverCert exists" in each for each in found.lines["warning"])
    assert any("raCertAuth profiles only" in each for each in found.lines["warning"])


def test_what_a_registration_manager_cannot_take_back_is_named(patient: Patient, lab: Lab) -> None:
    found = patient.examined("--enroll", account=lab.ra, label=label("slow", "kipukaServerManual"))
    (remains,) = [each for each in found.lines["warning"] if "remains" in each]
    assert remains.startswith("label slow: request ")


def test_stranger(patient: Patient, lab: Lab) -> None:
    fault = patient.examined(account=lab.stranger).only_fault()
    assert fault.startswith("ca lab: the CA does not know the agent certificate (HTTP 401")


def test_user_in_no_group(patient: Patient, lab: Lab) -> None:
    fault = patient.examined(account=lab.user).only_fault()
    assert fault.startswith('ca lab: the agent certificate is that of the user "kipuka-user", which is in no group')


def test_disabled_profile(patient: Patient) -> None:
    fault = patient.examined(label=label("off", DISABLED)).only_fault()
    assert fault == f"label off: the profile {DISABLED} is disabled"


def test_unknown_profile(patient: Patient) -> None:
    fault = patient.examined(label=label("no", "noSuchProfile")).only_fault()
    assert fault == "label no: there is no profile noSuchProfile at this CA"


def test_profile_that_drops_names(patient: Patient) -> None:
    found = patient.examined(label=label("web", "caServerCert", require_san=True))
    assert found.code == 0
    assert any("require_san of the label check" in each for each in found.lines["warning"])


def test_wrong_chain(patient: Patient) -> None:
    other = pki.root("CN=Another CA").write(patient.folder, "other").certificate
    fault = patient.examined(ca_cert=str(other)).only_fault()
    assert fault.startswith("ca lab: wrong chain: the server's certificate ")
    assert "issued by CN=Kipuka Lab CA" in fault


def test_wrong_host_name(patient: Patient, lab: Lab) -> None:
    fault = patient.examined(url=lab.url.replace(lab.host, "localhost")).only_fault()
    assert fault == f"ca lab: wrong host name: the certificate is for {lab.host}, and url says localhost"


def test_wrong_port(patient: Patient, lab: Lab) -> None:
    fault = patient.examined(url=f"https://{lab.host}:{free_port()}").only_fault()
    assert fault.endswith("cannot be reached: the connection was refused")


def test_unknown_host(patient: Patient) -> None:
    assert "cannot be resolved" in patient.examined(url="https://no-such-host.invalid:8443").only_fault()


def test_expired_agent(patient: Patient) -> None:
    """Of another CA, for the lab's issues none that has expired: so it is unknown, too."""
    expired = pki.root("CN=Another CA").client("CN=agent", not_after=pki.NOW - timedelta(days=1))
    files = expired.write(patient.folder, "expired")
    found = patient.examined(account=Account(files.certificate, files.key))
    assert found.code == 1
    assert any("ca[0].agent_cert: the certificate CN=agent expired on" in each for each in found.lines["fault"])
    assert all(each.startswith(("configuration: ca[0].agent_cert", "ca lab: ")) for each in found.lines["fault"])


def test_certificates_of_the_lab_are_what_these_tests_take_them_for(lab: Lab) -> None:
    """The wrong chain above must be wrong because of ca_cert alone."""
    (root,) = x509.load_pem_x509_certificates(lab.ca_chain.read_bytes())
    assert root.subject == root.issuer


class KraTests(TestCase):
    """The KRA, asked as the doctor does once ``kra_url`` may be written."""

    timeout = 180

    @pytest.fixture(autouse=True)
    def _use(self, lab) -> None:
        self.lab = lab

    async def asked(self, account: Account) -> list[Finding]:
        self.addCleanup(connections_closed)
        settings = {
            "id": "lab",
            "type": "dogtag",
            "url": self.lab.url,
            "kra_url": self.lab.url,
            "agent_cert": str(account.certificate),
            "agent_key": str(account.key),
            "ca_cert": str(self.lab.ca_chain),
            "profile": "kipukaServer",
        }
        findings: list[Finding] = []
        around = Circumstances(reactor, findings.append, lambda: datetime.now(UTC), None)
        await examine(DogtagCa.model_validate(settings), [], around)
        return [each for each in findings if each.subject == "ca lab kra"]

    async def test_agent_of_the_kra(self) -> None:
        found = await self.asked(self.lab.agent)
        self.assertEqual({each.level for each in found}, {Level.OK})
        self.assertIn("the agent may recover keys", [each.text for each in found])
        self.assertIn("the CA has a connector to a KRA", [each.text for each in found])

    async def test_a_ca_without_connector_to_the_kra(self) -> None:
        await deferToThread(command, "set", "ca", "ca.connector.KRA.enable=false")
        self.addCleanup(deferToThread, command, "set", "ca", "ca.connector.KRA.enable=true")
        found = [(each.level, each.text) for each in await self.asked(self.lab.agent) if each.level is not Level.OK]
        self.assertEqual(found, [(Level.WARNING, "the CA has no connector to a KRA, or cannot reach it")])

    async def test_user_without_rights(self) -> None:
        faults = [each.text for each in await self.asked(self.lab.user) if each.level is Level.FAULT]
        self.assertEqual(faults, ["the KRA knows the agent, who may not recover keys"])

    async def test_unknown_to_the_kra(self) -> None:
        """The registration manager is a user of the CA alone."""
        faults = [each.text for each in await self.asked(self.lab.ra) if each.level is Level.FAULT]
        self.assertEqual(len(faults), 1)
        self.assertIn("the KRA does not know the agent certificate", faults[0])
