"""Profiles and labels, over the raw profile of a real Dogtag and changes of it."""

from __future__ import annotations

import pytest

from kipuka.authority.dogtag.wire import Answer
from kipuka.cli.doctor.answers import CA_AGENTS, REGISTRATION_AGENTS
from kipuka.cli.doctor.checks import profiles
from kipuka.cli.doctor.checks.profiles import Profile
from kipuka.cli.doctor.findings import Finding, Level
from kipuka.config.model import Label
from tests.support.dogtag import transcript

RAW = next(
    each.answer.body.decode() for each in transcript.read("10.10.2/06-profiles.txt") if each.path.endswith("/raw")
)
SET = "policyset.serverCertSet"
AGENT = RAW.replace("auth.class_id=", "auth.instance_id=AgentCertAuth")
ANY_KEY = RAW.replace("keyType=RSA", "keyType=-") + f"\n{SET}.3.constraint.params.keyParameters="
"""As caECAgentServerCert has it: the parameters alone say which keys it takes."""
COPIES = AGENT.replace(
    "commonNameToSANDefaultImpl", f"userExtensionDefaultImpl\n{SET}.12.default.params.userExtOID=2.5.29.17"
)


def label(**keys: object) -> Label:
    return Label.model_validate({"name": "devices", "ca_id": "x", **keys})


def levels(found: object) -> list[Level]:
    return [each.level for each in found]  # type: ignore[attr-defined]


def faults(profile: Profile, roles: frozenset[str] | None = frozenset({CA_AGENTS})) -> list[Finding]:
    return [each for each in profile.findings("label x", roles) if each.level is not Level.OK]


def test_as_recorded() -> None:
    profile = Profile.parse("caServerCert", RAW)
    assert profile == Profile(
        "caServerCert",
        enabled=True,
        authenticator="",
        takes_csr=True,
        san="common name",
        key_types=frozenset({"RSA"}),
        usages=frozenset({"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}),
        subjects=(".*CN=.*",),
    )
    (found,) = profile.findings("label x", frozenset({CA_AGENTS}))
    assert found.level is Level.OK
    assert "waits for an agent" in found.text


def test_disabled() -> None:
    (found,) = faults(Profile.parse("p", RAW.replace("enable=true", "enable=false")))
    assert (found.level, found.text) == (Level.FAULT, "the profile p is disabled")
    assert "pki ca-profile-enable p" in found.remedy


@pytest.mark.parametrize(
    ("authenticator", "roles", "said"),
    [
        ("AgentCertAuth", {REGISTRATION_AGENTS}, "the agent is not one"),
        ("raCertAuth", {CA_AGENTS}, "the agent is not one"),
        ("CMCAuth", {CA_AGENTS}, "is for Full CMC"),
        ("flatFileAuth", {CA_AGENTS}, "asks for something that kipuka cannot show"),
    ],
)
def test_whom_it_lets_in(authenticator: str, roles: set[str], said: str) -> None:
    profile = Profile.parse("p", RAW.replace("auth.class_id=", f"auth.instance_id={authenticator}"))
    (found,) = faults(profile, frozenset(roles))
    assert (found.level, said in found.text) == (Level.FAULT, True)


@pytest.mark.parametrize(("authenticator", "role"), [("AgentCertAuth", CA_AGENTS), ("raCertAuth", REGISTRATION_AGENTS)])
def test_issues_at_once(authenticator: str, role: str) -> None:
    profile = Profile.parse("p", RAW.replace("auth.class_id=", f"auth.instance_id={authenticator}"))
    (found,) = profile.findings("label x", frozenset({role}))
    assert str(found) == f"ok      label x: the profile p issues at once ({authenticator})"
    assert not faults(profile, roles=None)


def test_no_csr_and_no_renewal() -> None:
    without = Profile.parse("p", RAW.replace("certReqInputImpl", "keyGenInputImpl"))
    assert "does not take a CSR" in faults(without)[0].text
    servers = Profile.parse("p", RAW.replace("1.3.6.1.5.5.7.3.1,1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"))
    assert levels(faults(servers)) == [Level.WARNING]


def test_rules_that_the_list_leaves_out_do_not_count() -> None:
    numbers = next(line for line in COPIES.splitlines() if line.startswith(f"{SET}.list="))
    assert Profile.parse("p", COPIES).san == "request"
    assert Profile.parse("p", COPIES.replace(numbers, f"{SET}.list=1,2,3")).san == ""


@pytest.mark.parametrize(
    ("raw", "keys", "expected"),
    [
        (COPIES, {"san_pattern": "DNS:{user}"}, [Level.OK]),
        (COPIES, {}, [Level.OK, Level.WARNING]),
        (RAW, {}, [Level.OK]),
        (RAW, {"require_san": True}, [Level.WARNING]),
        (RAW, {"san_pattern": "DNS:{user}"}, [Level.WARNING]),
        (RAW, {"allowed_key_types": ["rsa-2048"]}, [Level.OK]),
        (RAW, {"allowed_key_types": ["rsa", "ec-p256"]}, [Level.OK, Level.WARNING]),
        (RAW, {"allowed_key_types": ["ec-p256"]}, [Level.OK, Level.FAULT]),
        (RAW, {"allowed_key_types": ["ed25519"]}, [Level.OK, Level.FAULT]),
        (ANY_KEY + "2048,nistp256", {"allowed_key_types": ["rsa", "ec-p256"]}, [Level.OK]),
        (ANY_KEY + "-", {"allowed_key_types": ["rsa", "ec-p256"]}, [Level.OK]),
        (ANY_KEY + "nistp256,nistp384", {"allowed_key_types": ["ec-p256"]}, [Level.OK]),
        (ANY_KEY + "nistp256,nistp384", {"allowed_key_types": ["rsa"]}, [Level.OK, Level.FAULT]),
        (ANY_KEY + "2048,3072", {"allowed_key_types": ["ec-p256"]}, [Level.OK, Level.FAULT]),
    ],
)
def test_labels(raw: str, keys: dict[str, object], expected: list[Level]) -> None:
    assert levels(Profile.parse("p", raw).fits("label devices", label(**keys))) == expected


@pytest.mark.parametrize(
    ("auth", "pattern", "expected"),
    [
        (["basic"], "DNS:{user}", []),
        (["basic"], "DNS:{cn}", [Level.FAULT]),
        (["certificate"], "DNS:{user}", [Level.FAULT]),
        (["certificate"], "DNS:({user}|{cn})", []),
        (["certificate+basic"], "DNS:{user}", []),
        (["certificate"], "DNS:.*", []),
    ],
)
def test_patterns_that_nobody_can_match(auth: list[str], pattern: str, expected: list[Level]) -> None:
    assert levels(profiles.rules("label x", label(auth=auth, san_pattern=pattern))) == expected
    assert levels(profiles.rules("label x", label(auth=auth, subject_pattern=pattern))) == expected


def test_linked_requests() -> None:
    linked = label(proof_of_possession="required")
    assert levels(profiles.challenge("label x", "10.10.2", linked)) == [Level.FAULT]
    assert not levels(profiles.challenge("label x", "11.9.1", linked))
    assert not levels(profiles.challenge("label x", "10.10.2", label()))


def test_reading() -> None:
    missing, forbidden = (
        next(each.answer for each in transcript.read("10.10.2/06-profiles.txt") if each.answer.status == status)
        for status in (404, 403)
    )
    agent = frozenset({CA_AGENTS})
    found = profiles.read("label x", "nosuch", missing, agent)
    assert isinstance(found, Finding)
    assert found.text == "there is no profile nosuch at this CA"
    assert profiles.read("label x", "p", forbidden, agent) is None
    assert profiles.read("label x", "hidden", missing, frozenset({REGISTRATION_AGENTS})) is None
    assert isinstance(profiles.read("label x", "p", Answer(200, "application/json", RAW.encode()), None), Profile)


def test_what_everybody_may_see() -> None:
    forms = {each.path.rpartition("/")[2]: each.answer for each in transcript.read("10.10.2/07-enroll-template.txt")}
    assert profiles.from_form("x", "caServerCert", forms["caServerCert"]).level is Level.WARNING
    unknown = next(each for each in forms.values() if each.status == 400)
    assert profiles.from_form("x", "p", unknown) == profiles.missing("x", "p")
    assert profiles.from_form("x", "p", Answer(503, "text/html", b"")).level is Level.FAULT


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [(".*CN=.*", "CN=kipuka-doctor"), ("UID=.*", "UID=kipuka-doctor"), ("O=x", "CN=kipuka-doctor")],
)
def test_subject_of_the_test(pattern: str, subject: str) -> None:
    assert (
        Profile.parse("p", RAW.replace("params.pattern=.*CN=.*", f"params.pattern={pattern}")).test_subject == subject
    )
