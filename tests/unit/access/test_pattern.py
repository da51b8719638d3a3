"""What a pattern may be, so that it compiles for every caller, and what it matches."""

from __future__ import annotations

import re
import time
import warnings

import pytest

from kipuka.access.identity import Caller
from kipuka.access.pattern import LONGEST, Pattern
from tests.support import pki

CERTIFICATE = pki.root().client("CN=dev1").certificate


def caller(user: str | None = None, *, certificate: bool = False) -> Caller:
    return Caller(CERTIFICATE if certificate else None, user, "192.0.2.7")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("CN=(", "unterminated subpattern"),
        ("CN=(?P<{user}>x)", "bad character in group name"),
        (r"CN=\{user}", "unbalanced parenthesis"),
        ("CN=[{user}]", r"a placeholder has no meaning within \[...\]"),
        ("CN=[a{cn}b]+", r"a placeholder has no meaning within \[...\]"),
        ("(?<={user}|{cn})x", "look-behind requires fixed-width pattern"),
        ("a{99999999999}", "a number in it is too large"),
        ("a{" + "9" * 5000 + "}", "a number in it is too large"),
        ("(" * 3000 + ")" * 3000, "nested too deeply"),
        ("[[a]b]", r"Possible nested set at position 1; write \\\[ for a bracket"),
        ("[a--b]", "Possible set difference"),
    ],
)
def test_what_would_not_compile_for_some_caller_is_refused_when_it_is_made(pattern: str, said: str) -> None:
    with warnings.catch_warnings(), pytest.raises(ValueError, match="this is not a regular expression: .*" + said):
        warnings.simplefilter("ignore")  # as in the daemon: what re warns of is a fault all the same
        Pattern(pattern)


def test_a_placeholder_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("unknown placeholder {User}; there are {user} and {cn}")):
        Pattern("CN={User}")


@pytest.mark.parametrize(
    ("pattern", "who", "name", "good"),
    [
        ("CN=a{3}", caller(), "CN=aaa", True),
        (r"CN=\{x\}", caller(), "CN={x}", True),
        ("CN={user}(-[0-9]+)?", caller("alice"), "CN=alice-7", True),
        ("CN=(?P<who>{user}),OU=(?P=who)", caller("alice"), "CN=alice,OU=alice", True),
        ("CN=x{user}?", caller("bob"), "CN=x", True),  # repeated as a whole, and not its last letter
        ("CN=x{user}?", caller("bob"), "CN=xbob", True),
        ("CN=x{user}?", caller("bob"), "CN=xbo", False),
        ("CN=x{user}", caller(), "CN=x", False),
        ("(?<={cn}) b", caller(certificate=True), "dev1 b", False),
    ],
)
def test_what_it_matches(pattern: str, who: Caller, name: str, good: bool) -> None:
    assert Pattern(pattern).matches(name, who) is good


def test_a_long_name_matches_nothing_and_takes_no_time() -> None:
    pattern = Pattern("DNS:.*a.*b.*c.*d")
    assert pattern.matches(f"DNS:{'abc' * 300}d", caller())
    assert not pattern.matches(f"DNS:{'x' * LONGEST}abcd", caller())
    begun = time.monotonic()
    assert not pattern.matches(f"DNS:{'abc' * 20_000}", caller())
    assert time.monotonic() - begun < 1
