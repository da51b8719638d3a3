"""A faulty configuration: its faults, and what is left of it; who may read what."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.cli.doctor.checks import configuration
from kipuka.cli.doctor.findings import Level
from tests.support import pki

GOOD = """
[tls]
cert = "server.pem"
key = "server-key.pem"
[tls.client_auth]
trust_anchors = "ca.pem"
[[ca]]
id = "first"
cert = "ca.pem"
key = "ca-key.pem"
[[ca]]
id = "second"
cert = "ca.pem"
key = "ca-key.pem"
[[est.label]]
name = "devices"
ca_id = "second"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ca = pki.root()
    ca.write(tmp_path, "ca")
    ca.server().write(tmp_path, "server")
    path = tmp_path / "kipuka.toml"
    path.write_text(GOOD)
    return path


def test_good(file: Path) -> None:
    config, findings = configuration.read(file)
    assert config is not None
    assert [each.level for each in findings] == [Level.OK]
    assert all(each.level is not Level.FAULT for each in configuration.behind(config, pki.NOW, None))


def test_what_is_faulty_is_left_out(file: Path) -> None:
    file.write_text(GOOD + 'auth = ["passwort"]\nunknown = 1\n[est]\nfullcmc = true\n"odd key" = 1\n')
    config, findings = configuration.read(file)
    assert config is not None
    assert len(config.est.label) == 1
    assert [each.level for each in findings] == [Level.FAULT] * 4 + [Level.WARNING]


def test_a_ca_that_lacks_a_key_goes_with_what_needs_it(file: Path) -> None:
    """Positions in lists must not move while things are taken out."""
    lacking = GOOD.replace('id = "first"', 'id = "first"\ntype = "dogtag"').replace(
        'id = "second"', 'id = "second"\nx = 1'
    )
    file.write_text(lacking)
    config, findings = configuration.read(file)
    assert config is not None
    assert [ca.id for ca in config.ca] == ["second"]
    assert [label.ca_id for label in config.est.label] == ["second"]
    assert Level.FAULT in [each.level for each in findings]


@pytest.mark.parametrize(
    "text", ["", "not toml", "[tls]\ncert = 1\n", "ca = 3\ntls = 4", "x = " + "[" * 10_000, "x = 0x" + "f" * 5000]
)
def test_nothing_left(file: Path, text: str) -> None:
    file.write_text(text)
    config, findings = configuration.read(file)
    assert config is None
    assert {each.level for each in findings} == {Level.FAULT}


def test_no_file(tmp_path: Path) -> None:
    config, (finding,) = configuration.read(tmp_path / "none.toml")
    assert config is None
    assert "cannot read" in finding.text


def test_faults_behind_the_words(file: Path) -> None:
    (file.parent / "server.pem").unlink()
    config, _ = configuration.read(file)
    assert config is not None
    faults = [each for each in configuration.behind(config, pki.NOW, None) if each.level is Level.FAULT]
    assert [each.text.split(":")[0] for each in faults] == ["tls.cert"]


def test_a_key_for_everybody(file: Path) -> None:
    (file.parent / "server-key.pem").chmod(0o644)
    users = file.parent / "users"
    users.write_text("")
    users.chmod(0o604)
    file.write_text(GOOD + '[est]\nusers = "users"\n')
    config, _ = configuration.read(file)
    assert config is not None
    found = [each for each in configuration.behind(config, pki.NOW, None) if "everybody on" in each.text]
    assert [each.text.split(":")[0] for each in found] == ["tls.key", "est.users"]
    assert "chmod o-rwx" in found[0].remedy


def test_a_ca_of_ours_for_administrators_too(file: Path) -> None:
    lines = '[admin]\nlisten = "127.0.0.1:8444"\ntrust_anchors = "ca.pem"\n'

    def found(text: str) -> list[tuple[Level, str]]:
        file.write_text(GOOD + text)
        config, _ = configuration.read(file)
        assert config is not None
        return [(each.level, each.text) for each in configuration.behind(config, pki.NOW, None) if "admin" in each.text]

    assert [level for level, _ in found(lines)] == [Level.FAULT] * 2
    subjects = found(f"{lines}subjects = 'CN=Ada'\n")
    assert [level for level, _ in subjects] == [Level.WARNING] * 2
    assert 'a certificate of the CA "first" whose subject fits admin.subjects' in subjects[0][1]
