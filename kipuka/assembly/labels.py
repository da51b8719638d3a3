"""The labels of a configuration: who may use each, what they may ask for, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cryptography import x509
from twisted.logger import Logger

from kipuka.access import checks
from kipuka.access.credentials.user_file import UserFile
from kipuka.access.credentials.users import UsersFileError
from kipuka.access.policy import Credential, Policy
from kipuka.assembly.audit import Reactor
from kipuka.assembly.rolls import Roll
from kipuka.config import material, model
from kipuka.config.certificates import with_those_below
from kipuka.enrollment.registration import Registration
from kipuka.est import csrattrs
from kipuka.est.keys import KeyType
from kipuka.web.est.authentication import PasswordFile
from kipuka.web.est.routing import Label

_log = Logger("kipuka.est")

Register = Callable[[str, str | None, str | None], Registration]
"""Makes the registration authority for a CA's id, a label's name and its profile."""


def user_file(config: model.Config, reactor: Reactor, changed: Callable[[Roll], None]) -> UserFile | None:
    """Follow the file of users, if there is one.

    :param changed: told who is in it when that is found to have changed.
    :raises MaterialError: it cannot be used.
    """
    path = config.est.users
    if path is None:
        return None
    try:
        return UserFile(
            path, lambda text: _log.error("{text}", text=text), lambda roll: reactor.callFromThread(changed, roll)
        )
    except (OSError, UnicodeDecodeError, UsersFileError) as error:
        raise material.MaterialError(f"{path}: {error}") from None


def labels(config: model.Config, register: Register, users: PasswordFile | None) -> dict[str | None, Label]:
    """All labels by name, and under None what holds for the addresses without one.

    :raises MaterialError: a trust anchor cannot be read.
    """
    if not config.est.enabled:
        return {}
    named: dict[str | None, Label] = {each.name: _label(each, config, register, users) for each in config.est.label}
    if config.est.default_label is not None:
        return {None: replace(named[config.est.default_label], name=None)} | named
    if config.est.leaves_a_way_around:
        _log.warn(
            "labels have rules, and est.default_label is not set: on paths without a label, where none hold, whoever "
            "can authenticate gets any name"
        )
    unlabelled = Label(
        None,
        Policy(_ways(model.DEFAULT_AUTH, users)),
        register(config.default_ca, None, None),
        offers_attributes=config.est.csrattrs,
    )
    return {None: unlabelled} | named


def _label(label: model.Label, config: model.Config, register: Register, users: PasswordFile | None) -> Label:
    linking = label.proof_of_possession == "required"
    policy = Policy(_ways(label.auth, users), tuple(_checks(label)), linking, _anchors(label, config))
    registration = register(label.ca_id, label.name, label.dogtag_profile)
    attributes = csrattrs.encode(
        map(KeyType.parse, label.allowed_key_types),
        challenge_password=linking,
        extra=map(csrattrs.parse, label.csr_attributes),
    )
    return Label(label.name, policy, registration, label.line_wrap, attributes, config.est.csrattrs)


def _anchors(label: model.Label, config: model.Config) -> frozenset[x509.Certificate] | None:
    if label.trust_anchors is None:
        return None
    trusted = material.all_certificates(config.tls.client_auth.trust_anchors)
    return with_those_below(material.all_certificates(label.trust_anchors), trusted)


def _checks(label: model.Label) -> Iterator[checks.Check]:
    if label.allow is not None:
        yield checks.allow(label.allow)
    if label.subject_pattern is not None:
        yield checks.subject_pattern(label.subject_pattern)
    if label.san_pattern is not None:
        yield checks.san_pattern(label.san_pattern)
    if label.allowed_key_types:
        yield checks.allowed_key_types(label.allowed_key_types)
    if label.require_san:
        yield checks.require_san()


def _ways(auth: Sequence[str], users: PasswordFile | None) -> tuple[frozenset[Credential], ...]:
    """Read ``auth``; where nobody has a password, nobody is asked for one."""
    ways = tuple(frozenset(Credential(each) for each in way.split("+")) for way in auth)
    return ways if users is not None else tuple(way for way in ways if Credential.BASIC not in way)
