"""A certificate profile as Dogtag keeps it, and whether a label can live with it. No network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kipuka.authority.dogtag.wire import Answer, message
from kipuka.cli.doctor.answers import CA_AGENTS, REGISTRATION_AGENTS
from kipuka.cli.doctor.findings import Finding, fault, ok, warning
from kipuka.config.model import Label

_SAN = "2.5.29.17"
_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_GROUPS = {"AgentCertAuth": CA_AGENTS, "raCertAuth": REGISTRATION_AGENTS}
"""Whom the authenticators let in that a registration authority can satisfy."""
_FOR_CMC = {"CMCAuth", "CMCUserSignedAuth"}
_KINDS = {"rs": "RSA", "ec": "EC", "ed": "EdDSA"}
"""Dogtag's name for the kind of key, by how a key type of kipuka begins."""
_SUBJECTS = ("CN=kipuka-doctor", "UID=kipuka-doctor")


@dataclass(frozen=True)
class Profile:
    """What matters of a profile.

    :param authenticator: ``auth.instance_id``; empty: requests wait for an agent.
    :param takes_csr: whether its form has a field for a PKCS#10.
    :param san: where the subjectAltName comes from: "request", "common name", "profile", or empty: there is none.
    :param key_types: "RSA" and "EC", as far as it takes them.
    :param usages: OIDs of the extended key usage; None when it puts none.
    :param subjects: patterns for the subject.
    """

    name: str
    enabled: bool
    authenticator: str
    takes_csr: bool
    san: str
    key_types: frozenset[str]
    usages: frozenset[str] | None
    subjects: tuple[str, ...]

    @classmethod
    def parse(cls, name: str, text: str) -> Profile:
        """Read the raw form: ``key=value`` lines."""
        lines = [line.partition("=") for line in text.splitlines()]
        values = {key.strip(): value.strip() for key, equals, value in lines if equals}
        rules = list(_rules(values))
        return cls(
            name,
            values.get("enable", "").lower() == "true",
            values.get("auth.instance_id", ""),
            any(values.get(f"input.{each}.class_id") == "certReqInputImpl" for each in _list(values, "input.list")),
            _san(rules),
            _key_types(rules),
            _usages(rules),
            tuple(rule["constraint.params.pattern"] for rule in rules if "constraint.params.pattern" in rule),
        )

    @property
    def test_subject(self) -> str:
        """A subject for a test enrollment, one that the profile's pattern takes if possible."""
        return next(
            (each for each in _SUBJECTS if all(_matches(pattern, each) for pattern in self.subjects)), _SUBJECTS[0]
        )

    def findings(self, subject: str, roles: frozenset[str] | None) -> Iterator[Finding]:
        """Say what the profile does with kipuka's requests.

        :param roles: the agent's groups; None when they are not known.
        """
        what = f"the profile {self.name}"
        if not self.enabled:
            yield fault(subject, f"{what} is disabled", f"an agent enables it: pki ca-profile-enable {self.name}")
        if not self.takes_csr:
            yield fault(subject, f"{what} does not take a CSR", "name a profile with certReqInputImpl among its inputs")
        yield self._how_it_issues(subject, what, roles)
        if self.usages is not None and _CLIENT_AUTH not in self.usages:
            text = f"{what} gives certificates that are no good as TLS client certificates: devices cannot renew with "
            yield warning(
                subject, f"{text}them", "add clientAuth to its extended key usage (docs/dogtag.md, section 4)"
            )

    def fits(self, subject: str, label: Label) -> Iterator[Finding]:
        """Hold the profile against the rules of a label."""
        what = f"the profile {self.name}"
        if self.san == "request":
            yield ok(subject, f"{what} copies the subjectAltName of the request")
            if label.san_pattern is None:
                text = f"{what} copies the subjectAltName, and the label has no san_pattern: a caller can get any name"
                yield warning(subject, text, "bind names to callers with san_pattern (docs/labels.md)")
        else:
            instead = {"common name": "puts the common name there", "profile": "puts names of its own there"}
            does = f"{what} does not copy the subjectAltName of the request: it {instead.get(self.san, 'puts none')}"
            keys = [key for key, given in _san_rules(label).items() if given]
            if keys:
                text = f"{does}, so {' and '.join(keys)} of the label check names that nobody gets"
                yield warning(subject, text, "use a profile with userExtensionDefaultImpl (docs/dogtag.md, section 4)")
            else:
                yield ok(subject, does)
        wanted = {_KINDS[each[:2]] for each in label.allowed_key_types}
        if not wanted <= self.key_types:
            text = f"{what} takes {' and '.join(sorted(self.key_types)) or 'no'} keys, and the label's "
            text += f"allowed_key_types are {', '.join(label.allowed_key_types)}"
            yield (warning if wanted & self.key_types else fault)(
                subject, text, "name a profile for these keys, or other key types"
            )

    def _how_it_issues(self, subject: str, what: str, roles: frozenset[str] | None) -> Finding:
        if not self.authenticator:
            return ok(subject, f"{what} waits for an agent's approval: devices get 202 and ask again until then")
        group = _GROUPS.get(self.authenticator)
        if group is None:
            kind = "is for Full CMC" if self.authenticator in _FOR_CMC else "asks for something that kipuka cannot show"
            text = f"{what} {kind} (auth.instance_id={self.authenticator})"
            return fault(
                subject, text, "name a profile with AgentCertAuth, or with no authenticator to wait for agents"
            )
        if roles is not None and group not in roles:
            text = f'{what} issues to "{group}" only ({self.authenticator}), and the agent is not one'
            return fault(subject, text, f'pki ca-group-member-add "{group}" USER, or name another profile')
        return ok(subject, f"{what} issues at once ({self.authenticator})")


def read(subject: str, name: str, answer: Answer, roles: frozenset[str] | None) -> Profile | Finding | None:
    """Read the raw profile, or say that there is none; None when the agent may not see it.

    :param roles: the agent's groups: to others than CA agents Dogtag says of hidden profiles that there are none.
    """
    if answer.status == 200:
        return Profile.parse(name, answer.body.decode("utf-8", "replace"))
    is_missing = answer.status == 404 and answer.is_json and CA_AGENTS in (roles or ())
    return missing(subject, name) if is_missing else None


def from_form(subject: str, name: str, answer: Answer) -> Finding:
    """Judge the profile's form, which everybody may see: all there is to know without the right to read profiles."""
    if answer.status == 200:
        text = f"the profile {name} exists; the agent may not read whether it is enabled and how it issues"
        return warning(subject, text, "run the doctor with --enroll to try it, or with an agent of the CA")
    if answer.status == 400:
        return missing(subject, name)
    text = f"the profile {name} cannot be looked at: HTTP {answer.status}, {message(answer) or 'no body'}"
    return fault(subject, text, "look at Dogtag's debug log")


def missing(subject: str, name: str) -> Finding:
    """Say that there is no such profile."""
    remedy = "correct profile or dogtag_profile, or add it at this server: a clone does not get the profiles of others"
    return fault(subject, f"there is no profile {name} at this CA", remedy)


def rules(subject: str, label: Label) -> Iterator[Finding]:
    """Find patterns of a label that no caller can ever match, given how it authenticates."""
    ways = {part for way in label.auth for part in way.split("+")}
    lacking = {"user": "basic", "cn": "certificate"}
    for key, pattern in (("subject_pattern", label.subject_pattern), ("san_pattern", label.san_pattern)):
        used = set(re.findall(r"\{(user|cn)\}", pattern or ""))
        if used and all(lacking[each] not in ways for each in used):
            text = f"{key} needs {' or '.join(f'{{{each}}}' for each in sorted(used))}, which a caller who "
            text += f"authenticates by {' or '.join(label.auth)} does not have"
            yield fault(subject, text, "use {user} with basic, {cn} with certificate, ({user}|{cn}) with both")


def challenge(subject: str, version: str, label: Label) -> Iterator[Finding]:
    """Find a label whose requests the CA's version refuses."""
    if label.proof_of_possession == "required" and version.startswith("10."):
        text = f"proof_of_possession is required, and Dogtag {version} as installed refuses CSRs with challengePassword"
        yield fault(subject, text, 'set it to "optional" (docs/labels.md)')


def _san_rules(label: Label) -> Mapping[str, bool]:
    return {"require_san": label.require_san, "san_pattern": label.san_pattern is not None}


def _list(values: Mapping[str, str], key: str) -> list[str]:
    return [each.strip() for each in values.get(key, "").split(",") if each.strip()]


def _rules(values: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Each rule of the first policy set, its keys without what stands before them: a PKCS#10 has the first one's."""
    for name in _list(values, "policyset.list")[:1]:
        for number in _list(values, f"policyset.{name}.list"):
            prefix = f"policyset.{name}.{number}."
            yield {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _san(rules: Sequence[Mapping[str, str]]) -> str:
    sources = {
        ("request" if rule.get("default.params.userExtOID") == _SAN else "")
        if (kind := rule.get("default.class_id")) == "userExtensionDefaultImpl"
        else {"commonNameToSANDefaultImpl": "common name", "subjectAltNameExtDefaultImpl": "profile"}.get(
            kind or "", ""
        )
        for rule in rules
    }
    return next((each for each in ("request", "profile", "common name") if each in sources), "")


def _key_types(rules: Sequence[Mapping[str, str]]) -> frozenset[str]:
    taken = frozenset(["RSA", "EC"])
    for rule in rules:
        kind, parameters = rule.get("constraint.params.keyType", "-"), _list(rule, "constraint.params.keyParameters")
        if kind not in ("-", ""):
            taken &= {kind}
        elif parameters and "-" not in parameters:  # sizes are RSA's, names are curves; a key has to fit one of them
            taken &= {"RSA" if each.isdecimal() else "EC" for each in parameters}
    return taken


def _usages(rules: Sequence[Mapping[str, str]]) -> frozenset[str] | None:
    key = "default.params.exKeyUsageOIDs"
    found = [rule[key] for rule in rules if key in rule]
    return frozenset(each.strip() for each in found[0].split(",")) if found else None


def _matches(pattern: str, subject: str) -> bool:
    try:
        return re.fullmatch(pattern, subject) is not None
    except re.error:
        return True
