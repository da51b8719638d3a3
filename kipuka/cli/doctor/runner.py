"""All examinations of one configuration, CAs at the same time; each finding is reported when it is there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool

from kipuka.cli.doctor.checks import configuration, dogtag, names, profiles, store, tls
from kipuka.cli.doctor.checks.dogtag import Certificates, Circumstances, Wanted
from kipuka.cli.doctor.findings import Finding, Report, fault, ok, warning
from kipuka.config.administrators import makers, readable
from kipuka.config.certificates import name_of
from kipuka.config.model import Config, DogtagCa, FileCa


async def examine(
    reactor: Any,
    config: Config,
    report: Report,
    *,
    now: Callable[[], datetime],
    ask: Callable[[str], str] | None = None,
    enroll: bool = False,
) -> None:
    """Look at everything a configuration needs.

    :param now: the local clock, aware.
    :param ask: asks a person for a passphrase; None when nobody is there.
    :param enroll: whether to ask CAs for test certificates.
    """
    ask = None if ask is None else cache(ask)  # each passphrase is asked for once
    _tell(report, configuration.behind(config, now(), ask))
    _tell(report, tls.findings(config, now()))
    for label in config.est.label:
        _tell(report, profiles.rules(f"label {label.name}", label))
    _tell(report, names.findings(config))
    _tell(report, (each for ca in config.ca if isinstance(ca, FileCa) for each in _local(ca, now(), enroll=enroll)))

    anchors = [each for path in config.tls.client_auth.trust_anchors for each in tls.certificates(path)]
    administrators = () if config.admin.subjects is not None else makers(config, readable)
    around = Circumstances(reactor, report, now, ask, anchors, enroll, administrators)
    chains: dict[str, Certificates] = {}

    async def authority(ca: DogtagCa) -> None:
        chains[ca.id] = await dogtag.examine(ca, wanted(config, ca), around)

    async def database() -> None:
        pool = reactor.getThreadPool()
        _tell(report, await deferToThreadPool(reactor, pool, lambda: list(store.findings(config.db.url))))

    tasks = {f"ca {ca.id}": authority(ca) for ca in config.ca if isinstance(ca, DogtagCa)}
    tasks[store.SUBJECT] = database()
    await gatherResults([Deferred.fromCoroutine(_guarded(subject, task, report)) for subject, task in tasks.items()])
    if config.ha.enabled:
        for group in config.ha.group:
            _tell(report, clones(f"group {group.name}", {each: chains.get(each, ()) for each in group.ca_ids}))


def wanted(config: Config, ca: DogtagCa) -> list[Wanted]:
    """Return what kipuka will ask a CA for: a profile for each label, and one for paths without a label."""
    targets = {ca.id} | {group.name for group in config.ha.group if config.ha.enabled and ca.id in group.ca_ids}
    found = [
        Wanted(_subject(f"label {label.name}", label.ca_id, ca), label.dogtag_profile or ca.profile, label)
        for label in config.est.label
        if label.ca_id in targets
    ]
    if config.est.default_label is None and config.default_ca in targets:
        found.append(Wanted(_subject("no label", config.default_ca, ca), ca.profile, None))
    return found


def clones(subject: str, chains: Mapping[str, tuple[x509.Certificate, ...]]) -> Iterator[Finding]:
    """Judge whether the members of a pool are clones of one CA: they all have its certificate."""
    asked = {each: chain[0] for each, chain in chains.items() if chain}
    for name in dict.fromkeys(each for each in chains if each not in asked):
        text = f"{name} could not be asked, so whether it is a clone of the others is not known"
        yield warning(subject, text, f"see the findings of ca {name}")
    if len(set(asked.values())) > 1:
        text = "its members are not clones of one CA: " + ", ".join(
            f"{each} is {name_of(certificate.subject)} ({certificate.serial_number:#x})"
            for each, certificate in asked.items()
        )
        yield fault(subject, text, "take the strangers out of ca_ids; only clones can stand in for each other")
    elif len(asked) > 1:
        yield ok(subject, f"{', '.join(asked)} are clones of one CA")


def _subject(subject: str, target: str, ca: DogtagCa) -> str:
    """Members of a group answer for the same label, each for itself: profiles are files of each server."""
    return subject if target == ca.id else f"{subject} at {ca.id}"


def _local(ca: FileCa, now: datetime, *, enroll: bool) -> Iterator[Finding]:
    subject = f"ca {ca.id}"
    if enroll:
        yield ok(
            subject, "nothing to enroll: only a Dogtag is asked for test certificates; try a file CA with a device"
        )
    own = tls.certificates(ca.cert)
    for certificate in own[:1]:
        remedy = "make its successor, and bring it to the devices in time"
        yield tls.validity(subject, "the CA's certificate", certificate, now, remedy)
        chain = dict.fromkeys((*own, *(() if ca.chain is None else tls.certificates(ca.chain))))
        yield tls.fingerprints(subject, tuple(chain))


async def _guarded(subject: str, task: Coroutine[Any, Any, None], report: Report) -> None:
    """One examination that breaks must not keep the others from being reported."""
    try:
        await task
    except Exception as error:
        text = f"the doctor failed over it: {type(error).__name__}: {error}"
        report(fault(subject, text, "report this as a mistake of kipuka"))


def _tell(report: Report, findings: Iterator[Finding] | list[Finding]) -> None:
    for each in findings:
        report(each)
