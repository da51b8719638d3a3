"""kipuka.authority.revoking: what is to be done about a certificate, for every way it stands and every reason."""

from __future__ import annotations

import itertools

import pytest

from kipuka.authority.revoking import Effect, Reason, Standing, Step, next_step
from kipuka.errors import AuthorityError, Kind

HOLD, RELEASE = Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL
FINAL = [each for each in Reason if each not in (HOLD, RELEASE)]


def step(held: Reason | None, wanted: Reason) -> Step | Effect:
    return next_step(Standing("CN=device", reason=held), wanted)


def test_the_codes_are_those_of_rfc_5280() -> None:
    assert {each.value: each.code for each in Reason} == {
        "unspecified": 0,
        "keyCompromise": 1,
        "caCompromise": 2,
        "affiliationChanged": 3,
        "superseded": 4,
        "cessationOfOperation": 5,
        "certificateHold": 6,
        "removeFromCRL": 8,
        "privilegeWithdrawn": 9,
        "aaCompromise": 10,
    }
    assert all(Reason.of_code(each.code) is each for each in Reason)
    assert Reason.of_code(7) is Reason.UNSPECIFIED


def test_a_good_one() -> None:
    assert {step(None, each) for each in (*FINAL, HOLD)} == {Step.REVOKE}
    assert step(None, RELEASE) is Effect.NOT_ON_HOLD


def test_one_on_hold() -> None:
    assert {step(HOLD, each) for each in (*FINAL, RELEASE)} == {Step.RELEASE}
    assert step(HOLD, HOLD) is Effect.ON_HOLD


def test_one_revoked_for_good() -> None:
    assert {step(held, each) for held, each in itertools.product(FINAL, (*FINAL, HOLD))} == {Effect.ALREADY_REVOKED}
    for held in FINAL:
        with pytest.raises(AuthorityError, match=held.value) as caught:
            step(held, RELEASE)
        assert caught.value.kind is Kind.CONFLICT
