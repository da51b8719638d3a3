"""``python -m tests.conformance``: which rules the tests cover, as the text of docs/conformance.md.

Test names carry the ids of tests/vectors/conformance-ids.txt: ``test_enc_03_t19_...``, ``test_ren_01_04_...``. An id
that no test carries needs a reason in :data:`OPEN`; one that has both, or neither, is a fault, and the exit code is 1.
What is missing of a rule that has tests is in :data:`PARTLY`.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
IDS = TESTS / "vectors" / "conformance-ids.txt"

_RA = "not offered: client certificates of registration authorities have no rights of their own"
_TEMPLATE = "not offered: only OIDs are announced, in the form that all clients read"
_PROXY = "not offered: kipuka ends TLS itself"

OPEN = {
    "TLS-09": "off on purpose: tls-unique and fresh revocation checks need a full handshake",
    "AUTH-10": "not offered: Basic over TLS and client certificates are",
    "AUTH-11": "not offered",
    "AUTH-14": _RA,
    "CAC-05": "not yet tried: whatever the CA's chain holds is served",
    "REN-08": "not offered: a certificate may be renewed at any time",
    "ERR-03": "not offered: optional, and no client needs it",
    "LOAD-02": "not yet: connections are limited by address, requests are not",
    "CMC-01..14": "not offered",
    "SKG-01..19": "not offered",
    "CSA-07": _TEMPLATE,
    "CSA-08": _TEMPLATE,
    "CSA-09": _TEMPLATE,
    "POP-08": "cannot be seen: pyOpenSSL does not tell; tls.min_version 1.3 is the way to be sure",
    "POP-11": _PROXY,
    "POP-13": "not offered: the CA relies on its registration authority",
    "T24": "nothing to do: certmonger and Windows do not speak EST",
    "T25": _RA,
}

PARTLY = {
    "ENC-10": "no label can turn it off",
    "ENC-12": "/fullcmc and /serverkeygen are not offered",
    "AUTH-13": "it counts from no CA: see AUTH-14",
    "AUTH-15": "there is no limit on requests: see LOAD-02",
    "CAC-08": "an expired copy is served too",
    "ENR-05": "with a Dogtag its profile decides, and may put something else in the place of what was asked for",
    "ENR-06": "refused with a Dogtag, which issues for the names in the CSR",
    "ENR-09": "keys that are certified for another subject, and known ones (Debian's of 2008), are taken",
    "REN-04": "neither can be forbidden",
    "REN-07": "in a pool the member that is asked may not have heard yet of a revocation at another",
    "REN-09": "labels of one CA renew each other's certificates, where their rules allow it",
    "ERR-05": "what is refused before an operation is reached (404, 405, 408, 411, 413) has no reference and no record",
    "CSA-02": "no label can choose another form",
    "CSA-05": "the size of an RSA key is not announced",
    "CSA-06": "values of extensions are not announced",
    "CSA-10": "nothing else can be switched on: see CSA-07",
    "POP-10": "the attributes of RFC 7894, which tell the two apart, are not read",
    "T20": "application/x-pem-file is refused",
    "T26": "no dashboard shows them",
}
"""What is missing, of rules that are met otherwise."""

ELSEWHERE = {
    "CAC-08": "unit/authority/dogtag/test_cached.py::test_an_old_value_serves_while_the_source_fails",
}
"""Tests without the id in their names: file and the beginning of the function's name."""

_FUNCTION = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)
_FAMILIES = "tls|uri|enc|auth|cac|enr|ren|err|wait|load|cmc|skg|csa|pop"
_RULES = re.compile(rf"_({_FAMILIES})((?:_\d\d(?=_|$))+)")
_TRAP = re.compile(r"_t(\d{1,2})(?=_|$)")


@dataclass(frozen=True)
class Rule:
    """One line of the list."""

    section: str
    id: str
    text: str


def rules() -> list[Rule]:
    """Read the list of ids."""
    found: list[Rule] = []
    section = ""
    for line in IDS.read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line and not line.startswith("#"):
            id_, _, text = line.partition(" ")
            found.append(Rule(section, id_, text))
    return found


def ids_in(name: str) -> set[str]:
    """The ids that a test's name carries."""
    numbered = {
        f"{family.upper()}-{number}"
        for family, numbers in _RULES.findall(name)
        for number in numbers.strip("_").split("_")
    }
    return numbered | {f"T{int(number)}" for number in _TRAP.findall(name)}


def covered() -> dict[str, set[str]]:
    """For each id the files with tests that carry it."""
    where: defaultdict[str, set[str]] = defaultdict(set)
    names: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        short = str(file.relative_to(TESTS))
        names[short] = _FUNCTION.findall(file.read_text("utf-8"))
        for name in names[short]:
            for id_ in ids_in(name):
                where[id_].add(short)
    for id_, node in ELSEWHERE.items():
        file_, _, beginning = node.partition("::")
        if any(name.startswith(beginning) for name in names.get(file_, ())):
            where[id_].add(file_)
    return where


def faults(listed: list[Rule], where: dict[str, set[str]]) -> list[str]:
    """Ids without tests and reason, with both, and ids in test names or reasons that are not listed."""
    known = {rule.id for rule in listed}
    texts = [f"{rule.id} ({rule.text}) has neither a test nor a reason" for rule in listed if not _settled(rule, where)]
    texts += [f"{id_} has tests and a reason why it has none" for id_ in sorted(known & OPEN.keys() & where.keys())]
    texts += [f"{id_} in the names of tests is not in the list" for id_ in sorted(where.keys() - known)]
    texts += [f"{id_} has a reason and is not in the list" for id_ in sorted((OPEN.keys() | PARTLY.keys()) - known)]
    texts += [f"{id_} is partly met without a test" for id_ in sorted(known & PARTLY.keys() - where.keys())]
    return texts


def document(listed: list[Rule], where: dict[str, set[str]]) -> str:
    """The page."""
    tested = [rule.id for rule in listed if rule.id in where]
    partly = sum(id_ in PARTLY for id_ in tested)
    lines = [
        "# Conformance",
        "",
        "Written by `make conformance` from the names of the tests; do not edit it. Each line is a rule of RFC 7030 or",
        "the RFCs around it, of good practice, or of a client that exists, and the tests that hold kipuka to it.",
        "",
        f"Of {len(listed)} rules, {len(tested)} have tests, {partly} of these for a part of the rule: the line says",
        "what is missing. The others say why they have none.",
    ]
    section = ""
    for rule in listed:
        if rule.section != section:
            section = rule.section
            lines += ["", f"## {section}", "", "| id | rule | tests |", "|---|---|---|"]
        tests = ", ".join(f"`{file}`" for file in sorted(where.get(rule.id, ())))
        missing = f"; **partly**: {PARTLY[rule.id]}" if rule.id in PARTLY else ""
        lines.append(f"| {rule.id} | {rule.text} | {tests or OPEN.get(rule.id, '**nothing**')}{missing} |")
    return "\n".join(lines) + "\n"


def _settled(rule: Rule, where: dict[str, set[str]]) -> bool:
    return rule.id in where or rule.id in OPEN


def main() -> int:
    """Print the page; say on standard error what is missing."""
    listed, where = rules(), covered()
    sys.stdout.write(document(listed, where))
    wrong = faults(listed, where)
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
