"""One CA under examination: the questions, their order, and what follows from what. The stand-in answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.cli.doctor.answers import connector
from kipuka.cli.doctor.checks import kra
from kipuka.cli.doctor.checks.dogtag import Circumstances, Examination, Wanted
from kipuka.cli.doctor.findings import Finding, Level
from kipuka.cli.doctor.runner import clones
from kipuka.config.model import DogtagCa, Label
from kipuka.errors import AuthorityError
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag import transcript
from tests.support.dogtag.standin import StandIn, now

RAW = next(
    each.answer.body.decode() for each in transcript.read("10.10.2/06-profiles.txt") if each.path.endswith("/raw")
)
ROLES = {"agent": ["Certificate Manager Agents"], "ra": ["Registration Manager Agents"], "user": []}


class Dogtag(StandIn):
    """The stand-in, with what only the doctor asks for, in the recorded shapes. What it undid is in ``undone``."""

    undone: list[str]
    has_connector = True
    may_undo = True

    def _answer(self, request: Request, credential: str) -> Answer:
        path = request.uri.decode().partition("?")[0]
        known = credential in ROLES and not self.ldap_down
        match path:
            case "/pki/rest/info":
                return answers.success({"Version": "10.10.2"})
            case "/ca/rest/info":
                return answers.success({"ArchivalMechanism": "keywrap"} if self.has_connector else {})
            case "/ca/rest/account/login":
                body = {"id": credential, "Roles": {"Role": ROLES.get(credential, [])}}
                return answers.success(body) if known else answers.HTML_401
            case "/ca/ee/ca/profileSubmitCMCFull":
                return Answer(200, "text/html", b"<HTML>")
            case "/kra/rest/info":
                return answers.success({})
            case "/kra/rest/config/cert/transport":
                return answers.success(self._record(self.issuer.certificate))
            case "/kra/rest/agent/keys":
                return answers.listed([]) if credential == "agent" else Answer(403, "application/json", b"{}")
        if path.startswith("/ca/rest/profiles/"):
            return self._raw(path.split("/")[4], known=known and credential != "user")
        if path.startswith("/ca/rest/agent/certs/"):
            return self._agent_certificate(path.split("/"))
        if path.endswith("/cancel"):
            return self._undo(f"request {path.split('/')[5]}", 204)
        return super()._answer(request, credential)

    def _raw(self, name: str, *, known: bool) -> Answer:
        if not known:
            return answers.error(403, "base.ForbiddenException", "Authorization Error")
        if name not in self.profiles:
            return answers.error(404, "profile.ProfileNotFoundException", f"Profile ID {name} not found")
        profile = self.profiles[name]
        raw = RAW.replace("auth.class_id=", "auth.instance_id=AgentCertAuth") if profile.agent else RAW
        raw = raw if profile.enabled else raw.replace("enable=true", "enable=false")
        return Answer(200, "application/json", raw.encode())

    def _agent_certificate(self, parts: list[str]) -> Answer:
        if parts[-1] == "revoke":
            return self._undo(f"certificate {parts[5]}", 200)
        return answers.success({"Nonce": 2**60 + 1})

    def _undo(self, what: str, status: int) -> Answer:
        if not self.may_undo:
            return answers.error(403, "base.ForbiddenException", "Authorization Error")
        self.undone.append(what)
        return Answer(status, "application/json", json.dumps({"operationResult": "success"}).encode())


class ExaminationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dogtag = Dogtag()
        self.dogtag.undone = []
        self.findings: list[Finding] = []
        self.anchors = [self.dogtag.issuer.certificate]
        self.administrators: list[x509.Certificate] = []

    def examine(self, *profiles: str, credential: str = "agent", enroll: bool = False, **settings: object) -> bool:
        ca = DogtagCa.model_validate(
            {
                "id": "x",
                "type": "dogtag",
                "url": answers.URL,
                "agent_cert": "a.pem",
                "agent_key": "k.pem",
                "ca_cert": "c.pem",
                "profile": "kipukaServer",
                **settings,
            }
        )
        around = Circumstances(
            self.dogtag.clock,
            self.findings.append,
            lambda: datetime.now(UTC),
            None,
            self.anchors,
            enroll,
            self.administrators,
        )
        client = Client(answers.URL, self.dogtag.agent(credential), self.dogtag.clock)
        trust = (self.dogtag.issuer.certificate,)
        label = Label(name="devices", ca_id="x", san_pattern="DNS:{user}")
        wanted = [Wanted(f"label {each}", each, label) for each in profiles]
        return bool(now(Examination(ca, around).ask(client, trust, wanted)))

    def texts(self, level: Level | None = None) -> list[str]:
        return [f"{each.subject}: {each.text}" for each in self.findings if level in (None, each.level)]

    def faults(self) -> list[str]:
        return self.texts(Level.FAULT)

    def test_good(self) -> None:
        self.assertTrue(self.examine("kipukaServer", "kipukaServerManual"))
        self.assertEqual(self.faults(), [])
        self.assertIn("label kipukaServer: the profile kipukaServer issues at once (AgentCertAuth)", self.texts())
        self.assertNotIn(("POST", "/ca/rest/certrequests"), self.dogtag.calls)

    def test_ldap_down(self) -> None:
        self.dogtag.ldap_down = True
        self.examine("kipukaServer", enroll=True)
        self.assertIn("ca x: its directory server is down", self.faults()[0])
        self.assertNotIn(("POST", "/ca/rest/certrequests"), self.dogtag.calls)

    def test_stranger(self) -> None:
        self.examine("kipukaServerManual", credential="stranger", enroll=True)
        self.assertEqual(len(self.faults()), 1)
        self.assertIn("the CA does not know the agent certificate", self.faults()[0])
        self.assertIn("may not read whether it is enabled", self.texts(Level.WARNING)[-1])
        self.assertEqual(self.dogtag.requests, {})  # it would wait there for ever

    def test_profiles(self) -> None:
        self.examine("nosuch", "caCrossSignedCACert", enroll=True)
        self.assertEqual(
            self.faults(),
            [
                "label nosuch: there is no profile nosuch at this CA",
                "label caCrossSignedCACert: the profile caCrossSignedCACert is disabled",
            ],
        )
        self.assertNotIn(("POST", "/ca/rest/certrequests"), self.dogtag.calls)

    def test_renewal(self) -> None:
        self.anchors = [pki.root("CN=Other").certificate]
        self.examine()
        self.assertIn("its devices cannot renew", self.texts(Level.WARNING)[0])

    def test_its_devices_would_be_administrators(self) -> None:
        self.administrators = [pki.root("CN=Other").certificate]
        self.examine()
        self.assertEqual(self.faults(), [])
        self.administrators.append(self.dogtag.issuer.certificate)
        self.examine()
        self.assertIn("its devices are administrators", self.faults()[0])

    def test_another_server(self) -> None:
        self.dogtag.answer_next(Answer(200, "text/html", b"<html>"))
        for number in range(3):
            self.dogtag.answer_next(answers.HTML_404, number + 1)
        self.assertFalse(self.examine("kipukaServer"))
        self.assertIn("no CA behind this url", self.faults()[-1])

    def test_test_enrollment_is_revoked(self) -> None:
        self.examine("kipukaServer", enroll=True)
        self.assertEqual(self.faults(), [])
        serial = max(self.dogtag.issued.keys() - {self.dogtag.issuer.certificate.serial_number})
        self.assertEqual(self.dogtag.undone, [f"certificate {serial:#x}"])
        self.assertEqual(self.dogtag.issued[serial].subject.rfc4514_string(), "CN=kipuka-doctor")

    def test_waiting_test_is_cancelled(self) -> None:
        self.examine("kipukaServerManual", enroll=True)
        (number,) = self.dogtag.requests
        self.assertEqual(self.dogtag.undone, [f"request {number}"])

    def test_what_cannot_be_undone_is_named(self) -> None:
        self.dogtag.may_undo = False
        self.examine("kipukaServer", "kipukaServerManual", enroll=True)
        remains = [each for each in self.texts(Level.WARNING) if "remains" in each]
        serial = max(self.dogtag.issued.keys() - {self.dogtag.issuer.certificate.serial_number})
        number = max(self.dogtag.requests)
        self.assertIn(f"the certificate {serial:#x} remains: HTTP 403", remains[0])
        self.assertIn(f"request {number} remains: HTTP 403", remains[1])

    def test_refused_test(self) -> None:
        self.dogtag.profiles["picky"] = self.dogtag.profiles["kipukaServerManual"].__class__(constraint=lambda _: "No")
        self.examine("picky", enroll=True)
        self.assertEqual(self.faults(), [])
        self.assertIn("The CA refused the request", self.texts(Level.WARNING)[-1])

    def examination(self, lead: timedelta = timedelta(0)) -> Deferred[object]:
        around = Circumstances(self.dogtag.clock, self.findings.append, lambda: datetime.now(UTC) + lead, None)
        client = Client(answers.URL, self.dogtag.agent("agent"), self.dogtag.clock, timeout=30)
        ca = DogtagCa.model_construct(id="x", profile="p", paths={}, kra_url=None)
        asked = Examination(ca, around).ask(client, (self.dogtag.issuer.certificate,), [])
        return Deferred.fromCoroutine(asked)

    def test_silence_ends_it(self) -> None:
        self.dogtag.hang_next(after=5)
        examination = self.examination()
        self.assertNoResult(examination)
        self.dogtag.clock.advance(31)
        self.assertIn("timed out", self.failureResultOf(examination, AuthorityError).getErrorMessage())

    def test_clock(self) -> None:
        self.successResultOf(self.examination(timedelta(hours=1)))
        self.assertRegex(self.faults()[0], r"its clock is 3\d{3} s behind this machine's")

    def test_members_of_a_pool(self) -> None:
        one, other = pki.root("CN=One").certificate, pki.root("CN=Other").certificate
        levels = [
            [each.level for each in clones("group g", chains)]
            for chains in ({"a": (one,), "b": (one,)}, {"a": (one,), "b": (other,)}, {"a": (one,), "b": ()})
        ]
        self.assertEqual(levels, [[Level.OK], [Level.FAULT], [Level.WARNING]])

    def test_kra(self) -> None:
        for credential, has_connector, expected in (
            ("agent", True, []),
            ("user", True, ["the KRA knows the agent, who may not recover keys"]),
            ("agent", False, ["the CA has no connector to a KRA, or cannot reach it"]),
        ):
            self.dogtag.has_connector = has_connector
            client = Client(answers.URL, self.dogtag.agent(credential), self.dogtag.clock)
            info = now(client.get("/ca/rest/info"))
            found = now(kra.ask("ca x kra", client.get, datetime.now(UTC), has_directory=True))
            found.append(connector("ca x kra", info, needed=True))
            self.assertEqual([each.text for each in found if each.level is Level.FAULT], expected)

    def test_no_kra(self) -> None:
        async def missing(_: str) -> Answer:
            return answers.HTML_404

        (found,) = now(kra.ask("ca x kra", missing, datetime.now(UTC), has_directory=True))
        self.assertIn("there is no KRA behind kra_url", found.text)
