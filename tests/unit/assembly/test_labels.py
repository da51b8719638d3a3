"""What the labels of a configuration become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from kipuka.access.credentials.users import Users
from kipuka.assembly.labels import labels
from kipuka.config.load import parse
from kipuka.web.est.routing import Label
from tests.support import pki
from tests.unit.config.texts import MINIMAL, label

RULED = label('subject_pattern = "CN={user}"')


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is logged for the administrator."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        texts.append(str(event.get("log_format")))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


def built(text: str, folder: Path = Path("/none")) -> Mapping[str | None, Label]:
    return labels(parse(text, folder), lambda *_: cast("Any", None), Users.parse(""))


def test_rules_that_can_be_walked_around_are_told_of(logged: list[str]) -> None:
    assert built(MINIMAL + RULED)[None].policy.checks == ()
    assert [text for text in logged if "est.default_label is not set" in text]


def test_with_a_default_label_and_without_rules_nothing_is_told(logged: list[str]) -> None:
    ruled = built(MINIMAL + 'default_label = "lab"\n' + RULED)
    assert ruled[None].policy == ruled["lab"].policy
    built(MINIMAL + label())
    assert not [text for text in logged if "default_label" in text]


def test_tls_06_trust_anchors_of_a_label(tmp_path: Path) -> None:
    one, two = pki.root("CN=One"), pki.root("CN=Two")
    one.write(tmp_path, "one")
    two.write(tmp_path, "two")
    below = two.intermediate("CN=Below")
    below.write(tmp_path, "below")
    trusted = MINIMAL + '[tls.client_auth]\ntrust_anchors = ["below.pem", "one.pem", "two.pem"]\n'
    lists = (
        label('trust_anchors = ["one.pem", "below.pem"]'),
        label(name="b"),
        label('trust_anchors = "two.pem"', "c"),
    )
    found = built(trusted + "".join(lists), tmp_path)
    assert found["c"].policy.anchors == {two.certificate, below.certificate}
    assert found["lab"].policy.anchors == {one.certificate, below.certificate}
    assert found["b"].policy.anchors is None
    assert found[None].policy.anchors is None
