"""docs/doctor.md knows every warning and fault of the doctor."""

from __future__ import annotations

import re

import pytest

from tests.unit.test_troubleshooting import HOLE, ROOT, Module, pattern

SINKS = {"warning": 1, "fault": 1}


def collected() -> list[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "kipuka" / "cli" / "doctor").rglob("*.py")):
        module = Module(path)
        module.sinks = SINKS
        found.update(text for text in module.texts() if len(text.replace(HOLE, "").split()) >= 2)
    return sorted(found)


TEXTS = collected()
DOCUMENT = " ".join((ROOT / "docs" / "doctor.md").read_text("utf-8").split()).replace("`", "")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:50]))
def test_the_finding_is_explained(text: str) -> None:
    assert re.search(pattern(text).replace("`", ""), DOCUMENT), text.replace(HOLE, "…")


def test_the_search_finds_texts() -> None:
    assert len(TEXTS) > 50
    for words in ("is disabled", "directory server is down", "wrong chain"):
        assert any(words in text for text in TEXTS), words
