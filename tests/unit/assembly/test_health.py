"""kipuka.assembly.rooms.health: what is a reason not to be ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.assembly.rooms.health import _reasons
from kipuka.config.load import parse
from kipuka.config.model import Config, Ha, HaGroup

TWO = """
[tls]
cert = "tls.pem"
key = "key.pem"
[[ca]]
id = "one"
cert = "ca.pem"
key = "ca-key.pem"
[[ca]]
id = "two"
cert = "ca.pem"
key = "ca-key.pem"
[est]
users = "users"
"""
DOGTAG = """
type = "dogtag"
url = "https://dogtag.example.com"
agent_cert = "agent.pem"
agent_key = "agent-key.pem"
ca_cert = "ca.pem"
profile = "x"
"""
LABEL = """
[[est.label]]
name = "lab"
ca_id = "two"
"""


LATELY = "2026-11-23T12:00:00Z"


def config(text: str = TWO) -> Config:
    return parse(text, Path("/etc/kipuka"))


def pool() -> Config:
    """One whose labels go to a group of both."""
    group = HaGroup(name="pool", ca_ids=("one", "two"))
    plain = config()
    est = plain.est.model_copy(update={"default_ca": "pool"})
    return plain.model_copy(update={"ha": Ha(enabled=True, group=(group,)), "est": est})


def reasons(
    which: Config,
    one: str,
    two: str = "healthy",
    *,
    is_written: bool = True,
    is_audited: bool = True,
    is_serving: bool = True,
) -> list[str]:
    cas = {"one": {"status": one, "last_success": LATELY}, "two": {"status": two, "last_success": LATELY}}
    return list(_reasons(which, cas, is_written=is_written, is_audited=is_audited, is_serving=is_serving))


@pytest.mark.parametrize("status", ["healthy", "degraded"])
def test_a_ca_that_gets_requests_is_good_enough(status: str) -> None:
    assert reasons(config(), status) == []


def test_a_ca_that_has_not_worked_since_the_start_is_a_reason() -> None:
    cas = {"one": {"status": "degraded", "last_success": None}}
    told = list(_reasons(config(), cas, is_written=True, is_audited=True, is_serving=True))
    assert told == ["No CA of one can be used: one is degraded."]


@pytest.mark.parametrize("status", ["circuit_open", "half_open"])
def test_a_ca_that_gets_none_is_a_reason(status: str) -> None:
    assert reasons(config(), status) == [f"No CA of one can be used: one is {status}."]


def test_a_ca_that_no_label_uses_is_none() -> None:
    assert reasons(config(), "healthy", "circuit_open") == []
    assert reasons(config(TWO + LABEL), "healthy", "circuit_open") == ["No CA of two can be used: two is circuit_open."]


def test_a_group_needs_one_of_its_members() -> None:
    assert reasons(pool(), "circuit_open", "healthy") == []
    assert reasons(pool(), "circuit_open", "half_open") == [
        "No CA of pool can be used: one is circuit_open, two is half_open."
    ]


def test_with_a_default_label_only_labels_count() -> None:
    strict = config(TWO.replace("[est]", '[est]\ndefault_label = "lab"') + LABEL)
    assert reasons(strict, "circuit_open", "healthy") == []


def test_where_est_is_off_no_ca_is_needed() -> None:
    assert reasons(config(TWO.replace("[est]", "[est]\nenabled = false")), "circuit_open") == []


def test_a_file_ca_need_not_be_asked() -> None:
    assert reasons(config(), "unknown") == []
    assert list(_reasons(config(), {}, is_written=True, is_audited=True, is_serving=True)) == []


def test_a_dogtag_is_waited_for_until_it_was_asked() -> None:
    asked = config(TWO.replace('cert = "ca.pem"\nkey = "ca-key.pem"\n', DOGTAG))
    assert reasons(asked, "healthy") == []
    not_yet = ["Whether one works is not known yet: it is asked within the next seconds."]
    assert reasons(asked, "unknown") == not_yet
    assert list(_reasons(asked, {}, is_written=True, is_audited=True, is_serving=True)) == not_yet


def test_of_a_group_one_that_was_asked_is_enough() -> None:
    """Its members are Dogtags; one that is away beside one that was not asked is no reason to wait less."""
    dogtags = pool().model_copy(update={"ca": config(TWO.replace('cert = "ca.pem"\nkey = "ca-key.pem"\n', DOGTAG)).ca})
    assert reasons(dogtags, "unknown", "healthy") == []
    assert reasons(dogtags, "unknown", "circuit_open") == [
        "No CA of pool can be used: one is unknown, two is circuit_open."
    ]
    assert reasons(dogtags, "unknown", "unknown") == [
        "Whether pool works is not known yet: it is asked within the next seconds."
    ]


def test_the_database_and_the_listeners_are_reasons_too() -> None:
    assert reasons(config(), "healthy", is_written=False) == ["The database of the ledger takes no entries."]
    assert reasons(config(), "healthy", is_audited=False) == ["The file of the audit cannot be written."]
    assert reasons(config(), "healthy", is_serving=False) == ["kipuka is starting or stopping."]
