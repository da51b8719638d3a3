"""``makeService``: whatever hinders the start is one line and exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from OpenSSL import SSL

import kipuka.assembly
from kipuka.errors import AuthorityError, Kind
from kipuka.tap import Options, makeService


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (SSL.Error([("SSL routines", "", "ee key too small")]), "ee key too small"),
        (AuthorityError(Kind.MISCONFIGURED, "No.", "not a CA"), "misconfigured: No. (not a CA)"),
        (ValueError("no such thing"), "no such thing"),
        (PermissionError(13, "Permission denied", "/secret"), "/secret: Permission denied"),
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_what_inspection_has_not_foreseen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trouble: Exception, said: str, closed: bool
) -> None:
    def fail(*_: object) -> None:
        raise trouble

    if closed:
        monkeypatch.setattr("sys.stdin", None)  # as after "<&-"
    monkeypatch.setattr("kipuka.tap.load", lambda _: None)
    monkeypatch.setattr(kipuka.assembly, "assemble", fail)
    options = Options()
    options["config"] = str(tmp_path / "kipuka.toml")
    with pytest.raises(SystemExit) as ended:
        makeService(options)
    assert str(ended.value.code).endswith(said)
    assert "\n" not in str(ended.value.code)
