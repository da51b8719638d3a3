"""Withdrawing certificates: reasons, what came of it, and what a CA that can do it implements.

Pure: the decision what to do about a certificate that stands so and so is the same for every CA and is made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol, runtime_checkable

from cryptography import x509

from kipuka.errors import AuthorityError, Kind


class Reason(Enum):
    """Why a certificate is withdrawn, by the names of RFC 5280 §5.3.1; ``removeFromCRL`` takes it off hold."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "caCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    REMOVE_FROM_CRL = "removeFromCRL"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aaCompromise"

    @property
    def code(self) -> int:
        """The number of RFC 5280 §5.3.1."""
        return _CODES[self]

    @classmethod
    def of_code(cls, code: int) -> Reason:
        """Return the reason with this number; UNSPECIFIED for one that RFC 5280 does not know."""
        return next((each for each, number in _CODES.items() if number == code), cls.UNSPECIFIED)


_CODES = dict(zip(Reason, (0, 1, 2, 3, 4, 5, 6, 8, 9, 10), strict=True))


class Effect(Enum):
    """What came of it. The value is for people and programs that asked over HTTP."""

    REVOKED = "revoked"
    ALREADY_REVOKED = "already revoked"
    """It was before, for good; nothing was changed, the reason neither."""
    ON_HOLD = "on hold"
    """It is revoked until it is released, also when it was on hold before."""
    RELEASED = "released"
    """It was on hold and is good again."""
    NOT_ON_HOLD = "not on hold"
    """It was to be released and is good anyway."""


@dataclass(frozen=True)
class Standing:
    """How a certificate stands at its CA.

    :param certificate: None when the CA keeps no copy.
    :param reason: why it is revoked; None while it is not.
    :param since: since when it is revoked, by the CA's clock.
    """

    subject: str
    certificate: x509.Certificate | None = None
    reason: Reason | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Revoked:
    """What came of a revocation.

    :param standing: the certificate afterwards, as the CA shows it.
    :param said: the CA's words, one bounded line; empty when there was nothing to do.
    """

    effect: Effect
    standing: Standing
    said: str = ""


@runtime_checkable
class Revokes(Protocol):
    """A CA that withdraws certificates by serial number. Asking twice does no harm."""

    @property
    def id(self) -> str:
        """The ``[[ca]] id`` of the configuration."""

    async def owns(self, serial: int) -> Standing | None:
        """Return how the certificate of this number stands; None when the CA has issued none.

        :raises AuthorityError: the CA cannot say now.
        """

    async def revoke(self, serial: int, reason: Reason) -> Revoked:
        """Withdraw a certificate, or release it from hold.

        :raises AuthorityError: NOT_FOUND, when the CA has issued none of this number; CONFLICT, when this cannot be
            done to this certificate; else the CA is in trouble, and it may have been done or not.
        """


class Step(Enum):
    """What is to be done next about a certificate."""

    REVOKE = "revoke"
    RELEASE = "release"


def next_step(standing: Standing, wanted: Reason) -> Step | Effect:
    """Return what to do, or what to say when there is nothing to do.

    A certificate on hold is released before it is revoked for another reason: CAs take it for revoked already.

    :raises AuthorityError: CONFLICT, when a certificate that is revoked for good is to be released.
    """
    held = standing.reason is Reason.CERTIFICATE_HOLD
    if wanted is Reason.REMOVE_FROM_CRL:
        if standing.reason is None:
            return Effect.NOT_ON_HOLD
        return Step.RELEASE if held else _conflict(standing.reason)
    if standing.reason is None:
        return Step.REVOKE
    if not held:
        return Effect.ALREADY_REVOKED
    return Effect.ON_HOLD if wanted is Reason.CERTIFICATE_HOLD else Step.RELEASE


def effect(wanted: Reason) -> Effect:
    """Return what came of it when something was done."""
    return {Reason.REMOVE_FROM_CRL: Effect.RELEASED, Reason.CERTIFICATE_HOLD: Effect.ON_HOLD}.get(
        wanted, Effect.REVOKED
    )


def unknown(serial: int) -> AuthorityError:
    """Return the error for a serial number under which the CA has issued nothing."""
    return AuthorityError(
        Kind.NOT_FOUND, f"The CA has issued no certificate with the serial number {serial:#x}: check the number."
    )


def _conflict(reason: Reason) -> Effect:
    raise AuthorityError(
        Kind.CONFLICT,
        f"The certificate is revoked for good ({reason.value}) and cannot be released: issue another one.",
    )
