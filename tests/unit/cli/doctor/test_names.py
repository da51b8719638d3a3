"""Whether rules bind names, or can be walked around."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.cli.doctor.checks import names
from kipuka.cli.doctor.findings import Level
from kipuka.config.load import parse
from tests.support import pki
from tests.unit.config.texts import DOGTAG_CA, MINIMAL, label

WITH_DEFAULT = MINIMAL + 'default_label = "lab"\n'
BOUND = 'subject_pattern = "CN={user}"\nsan_pattern = "DNS:{user}"'
BY_CERTIFICATE = 'subject_pattern = "CN={cn}"\nsan_pattern = "DNS:{cn}"'


def found(text: str, folder: Path = Path("/none")) -> list[str]:
    findings = list(names.findings(parse(text, folder)))
    assert all(each.level is Level.WARNING and each.remedy for each in findings)
    return [f"{each.subject}: {each.text}" for each in findings]


@pytest.mark.parametrize(
    "rule",
    [
        BOUND,
        'allow = ["user:alice"]',
        'allowed_key_types = ["ec"]',
        "require_san = true",
        'proof_of_possession = "required"',
        'auth = ["basic"]',
    ],
)
def test_rules_that_do_not_hold_without_a_label(rule: str) -> None:
    (text,) = found(MINIMAL + label(rule))
    assert text.startswith("configuration: labels have rules")
    assert found(WITH_DEFAULT + label(rule)) == []


def test_without_rules_there_is_nothing_to_walk_around() -> None:
    assert found(MINIMAL) == []
    assert found(MINIMAL + label()) == []
    assert found(MINIMAL + label('line_wrap = 64\ncsr_attributes = ["serialNumber"]')) == []


def test_a_file_ca_copies_what_no_pattern_holds() -> None:
    (text,) = found(WITH_DEFAULT + label('subject_pattern = "CN={user}"'))
    assert text.startswith("label lab: the CA copies the subjectAltName")
    dogtag = WITH_DEFAULT.replace("[est]", DOGTAG_CA + "[est]")
    assert found(dogtag + label('subject_pattern = "CN={user}"', ca_id="dogtag")) == []


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    """A root and its subordinate in one file, a maker's CA in another."""
    root = pki.root()
    (tmp_path / "own.pem").write_bytes(pki.pem(root.intermediate().certificate, root.certificate))
    (tmp_path / "maker.pem").write_bytes(pki.pem(pki.root("CN=Maker").certificate))
    return tmp_path


@pytest.mark.parametrize("rule", [BY_CERTIFICATE, 'allow = ["user:a", "certificate:CN=dev*"]'])
def test_tls_06_names_that_several_cas_can_write(anchors: Path, rule: str) -> None:
    two = '[tls.client_auth]\ntrust_anchors = ["own.pem", "maker.pem"]\n'
    (text,) = found(WITH_DEFAULT + label(rule) + two, anchors)
    assert text.startswith("label lab: its rules believe the names")
    assert found(WITH_DEFAULT + label(rule + '\ntrust_anchors = "own.pem"') + two, anchors) == []
    assert found(WITH_DEFAULT + label(BOUND) + two, anchors) == []
    assert found(WITH_DEFAULT + label(rule) + '[tls.client_auth]\ntrust_anchors = "own.pem"\n', anchors) == []
