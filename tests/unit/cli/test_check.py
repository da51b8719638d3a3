"""``kipuka check``: exit code, one fault a line, no question without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka import cli
from tests.support import pki

CONFIG = """
[tls]
cert = "server.pem"
key = "server-key.pem"
[tls.client_auth]
trust_anchors = "ca.pem"
[[ca]]
id = "local"
cert = "ca.pem"
key = "ca-key.pem"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    ca = pki.root()
    ca.write(tmp_path, "ca")
    ca.server().write(tmp_path, "server")
    file = tmp_path / "kipuka.toml"
    file.write_text(CONFIG)
    return file


def test_good(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(config)]) == 0
    assert capsys.readouterr() == (f"{config}: good\n", "")


def test_faults_in_the_words(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG + "[est]\nfullcmc = true\nuser = 'x'\n")
    assert cli.main(["check", str(config)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        'est.user: unknown key "user"; did you mean "users"?',
        "est.fullcmc: not built yet: Full CMC; remove this key",
    ]


def test_faults_behind_the_words(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "server.pem").unlink()
    (config.parent / "ca-key.pem").write_text("x")
    assert cli.main(["check", str(config)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines()] == ["tls.cert", "ca[0].key"]


def test_passphrase_is_asked_for_at_a_terminal_only(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "right")
    pki.root().server().write(config.parent, "server", passphrase="right")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert cli.main(["check", str(config)]) == 1
    assert "set tls.key_passphrase" in capsys.readouterr().err
    assert asked == []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert cli.main(["check", str(config)]) == 0
    assert asked == [f"Passphrase of {config.parent / 'server-key.pem'}: "]
