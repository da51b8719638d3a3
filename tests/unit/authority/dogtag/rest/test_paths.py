"""kipuka.authority.dogtag.rest.paths: which path is tried, and in which order."""

from __future__ import annotations

import pytest

from kipuka.authority.dogtag.rest.paths import Operation, Paths


def test_the_recorded_path_comes_first_and_the_newer_one_next() -> None:
    assert Paths().candidates(Operation.ENROLL) == ("/ca/rest/certrequests", "/ca/v1/certrequests")


def test_a_value_is_escaped_into_its_place() -> None:
    assert Paths().candidates(Operation.TEMPLATE, "../a b?") == (
        "/ca/rest/certrequests/profiles/..%2Fa%20b%3F",
        "/ca/v1/certrequests/profiles/..%2Fa%20b%3F",
    )


def test_the_path_that_answered_is_tried_first_from_then_on() -> None:
    paths = Paths()
    paths.answered(Operation.ENROLL, 1)
    assert paths.candidates(Operation.ENROLL)[0] == "/ca/v1/certrequests"
    assert paths.candidates(Operation.CERTIFICATE, "0x1")[0] == "/ca/rest/certs/0x1"


def test_an_override_is_the_only_candidate() -> None:
    paths = Paths({"enroll": "/pki/enroll", "certificate": "/pki/{id}/der"})
    assert paths.candidates(Operation.ENROLL) == ("/pki/enroll",)
    assert paths.candidates(Operation.CERTIFICATE, "0x1") == ("/pki/0x1/der",)


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ({"enrol": "/x"}, "known are chain, template, enroll, .*, certificate-review, revoke, unrevoke, probe"),
        ({"enroll": "https://elsewhere/x"}, "must start with /"),
        ({"certificate": "/certs"}, "must contain {id}"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(overrides: dict[str, str], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Paths(overrides)
