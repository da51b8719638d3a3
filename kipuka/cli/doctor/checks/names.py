"""Whether the rules of labels bind names to callers, or can be walked around."""

from __future__ import annotations

from collections.abc import Iterator

from kipuka.cli.doctor.checks import tls
from kipuka.cli.doctor.findings import Finding, warning
from kipuka.config.model import Config, FileCa, Label


def findings(config: Config) -> Iterator[Finding]:
    """Look at all labels, and at paths without one. Whether a Dogtag copies names is said where its profile is read."""
    if config.est.leaves_a_way_around:
        text = (
            "labels have rules, and on paths without a label, where none hold, whoever can authenticate gets any name"
        )
        yield warning("configuration", text, "name the label whose rules are to hold there in est.default_label")
    copying = {ca.id for ca in config.ca if isinstance(ca, FileCa)}
    many = _vouching(config) > 1
    for label in config.est.label:
        subject = f"label {label.name}"
        if label.subject_pattern is not None and label.san_pattern is None and label.ca_id in copying:
            text = "the CA copies the subjectAltName, and the label has no san_pattern: a caller can get any name"
            yield warning(subject, text, "bind names to callers with san_pattern (docs/labels.md)")
        if many and not label.trust_anchors and _believes(label):
            text = (
                "its rules believe the names in certificates of every CA in tls.client_auth.trust_anchors, and these "
            )
            text += "are of several"
            yield warning(subject, text, "name the CA that may say who is who in trust_anchors of the label")


def _believes(label: Label) -> bool:
    patterns = (label.subject_pattern or "", label.san_pattern or "")
    return any("{cn}" in each for each in patterns) or any(
        each.startswith("certificate:") for each in label.allow or ()
    )


def _vouching(config: Config) -> int:
    """How many CAs can give out names without another one's leave: those that are below none of the others."""
    anchors = [each for path in config.tls.client_auth.trust_anchors for each in tls.certificates(path)]
    subjects = {each.subject for each in anchors}
    return len({each.subject for each in anchors if each.issuer == each.subject or each.issuer not in subjects})
