"""``[est]``, ``[est.cmc]`` and ``[[est.label]]``: what is offered, to whom, and what they may ask for."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from kipuka.access.pattern import PLACEHOLDERS
from kipuka.config.model.fields import (
    AsTuple,
    Distinct,
    Duration,
    FilePath,
    Identifier,
    OneOrMany,
    ProfileName,
    Section,
    Size,
    Text,
    found,
    name_pattern,
    text_of,
)
from kipuka.est import csrattrs
from kipuka.est.keys import KeyType
from kipuka.est.labels import check_label_name

Auth = Literal["certificate", "basic", "certificate+basic"]
DEFAULT_AUTH: tuple[Auth, ...] = ("certificate", "basic")


def _label_name(value: object) -> str:
    name = text_of(value, "the label's name")
    check_label_name(name)
    return name


def _key_type(value: object) -> str:
    return KeyType.parse(text_of(value, "the name of a key type")).name


def _allow(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(?:user|certificate):[^\x00-\x1f\x7f]+", value):
        raise ValueError(f'expected "user:NAME" or "certificate:SUBJECT", both with * and ?; found {found(value)}')
    return value


def _csr_attribute(value: object) -> str:
    text = text_of(value, 'an attribute like "OID" or "OID:VALUE,VALUE"')
    csrattrs.parse(text)
    return text


NamePattern = Annotated[str, PlainValidator(name_pattern(*PLACEHOLDERS))]
"""A regular expression for a whole name, with placeholders."""


class Label(Section):
    """A label: its own CA or profile, and its own rules."""

    name: Annotated[str, PlainValidator(_label_name)]
    ca_id: Identifier
    dogtag_profile: ProfileName | None = None
    authority: Text | None = None
    auth: Annotated[tuple[Auth, ...], AsTuple, Field(min_length=1), Distinct] = DEFAULT_AUTH
    subject_pattern: NamePattern | None = None
    san_pattern: NamePattern | None = None
    allowed_key_types: Annotated[tuple[Annotated[str, PlainValidator(_key_type)], ...], AsTuple, Distinct] = ()
    require_san: bool = False
    trust_anchors: Annotated[tuple[FilePath, ...], OneOrMany, Field(min_length=1), Distinct] | None = None
    allow: Annotated[tuple[Annotated[str, PlainValidator(_allow)], ...], AsTuple, Field(min_length=1)] | None = None
    proof_of_possession: Literal["optional", "required"] = "optional"
    serverkeygen_encryption: Literal["any", "required"] = "any"
    csr_attributes: Annotated[tuple[Annotated[str, PlainValidator(_csr_attribute)], ...], AsTuple, Distinct] = ()
    line_wrap: Literal["auto", "none", 64, 76] = "auto"

    @property
    def has_rules(self) -> bool:
        """Whether it demands more than that its callers authenticate in one of the usual ways."""
        demands = (self.allow, self.subject_pattern, self.san_pattern, self.allowed_key_types, self.trust_anchors)
        return (
            any(demands)
            or self.require_san
            or self.proof_of_possession == "required"
            or set(self.auth) != set(DEFAULT_AUTH)
        )

    @model_validator(mode="after")
    def _announces_no_contradiction(self) -> Self:
        csrattrs.encode(
            map(KeyType.parse, self.allowed_key_types),
            challenge_password=self.proof_of_possession == "required",
            extra=map(csrattrs.parse, self.csr_attributes),
        )
        return self


class Cmc(Section):
    """Full CMC."""

    max_message_size: Size = 10 * 1024**2
    allow_unsigned: bool = False
    trust_anchors: Annotated[tuple[FilePath, ...], OneOrMany, Distinct] = ()


class Est(Section):
    """The EST service."""

    enabled: bool = True
    fullcmc: bool = False
    serverkeygen: bool = True
    csrattrs: bool = True
    default_ca: Identifier | None = None
    default_label: Identifier | None = None
    users: FilePath | None = None
    retry_after: Duration = 30
    replay_window: Duration = 600
    cmc: Cmc = Cmc()
    label: Annotated[tuple[Label, ...], AsTuple] = ()

    @property
    def leaves_a_way_around(self) -> bool:
        """Whether labels have rules that do not hold on paths without a label."""
        return self.default_label is None and any(each.has_rules for each in self.label)
