"""Which CAs stand behind which: other certificates of the same CA, CAs below others, keys that nobody can read."""

from __future__ import annotations

import pytest

from kipuka.config.certificates import check_crl, leads_to, public_key, with_those_below
from tests.support import pki

ROOT, OTHER = pki.root("CN=Root"), pki.root("CN=Other")
SUB = ROOT.intermediate("CN=Sub")
BELOW = SUB.intermediate("CN=Below")
CROSS = OTHER.intermediate("CN=Root", ROOT.key)
"""What another CA has given the root."""


def test_a_way_to_an_anchor() -> None:
    assert leads_to([SUB.certificate], [ROOT.certificate])
    assert leads_to([SUB.certificate], [SUB.certificate])
    assert not leads_to([SUB.certificate], [BELOW.certificate])
    assert not leads_to([BELOW.certificate], [ROOT.certificate])  # what is between them is not on the way
    assert leads_to([BELOW.certificate, SUB.certificate], [OTHER.certificate, ROOT.certificate])


def test_a_ca_is_the_same_by_whichever_of_its_certificates() -> None:
    assert leads_to([ROOT.certificate], [CROSS.certificate])
    assert leads_to([CROSS.certificate], [ROOT.certificate])
    assert not leads_to([ROOT.certificate], [pki.root("CN=Root").certificate])  # another key
    assert not leads_to([ROOT.certificate], [pki.root("CN=Renamed", ROOT.key).certificate])  # another name


def test_a_key_that_nobody_can_read_leads_nowhere_else() -> None:
    odd, twin = pki.with_unknown_key(ROOT.certificate), pki.with_unknown_key(CROSS.certificate)
    assert public_key(odd) is None
    assert leads_to([odd], [odd])
    for one, two in ((odd, twin), (odd, ROOT.certificate), (ROOT.certificate, odd), (SUB.certificate, odd)):
        assert not leads_to([one], [two])
    (fault,) = check_crl(ROOT.crl(), [odd], pki.NOW)
    assert "does not carry that CA's signature" in fault


@pytest.mark.parametrize(
    ("named", "below"),
    [
        (ROOT, {ROOT, SUB, BELOW, CROSS}),
        (SUB, {SUB, BELOW}),
        (BELOW, {BELOW}),
        (OTHER, {OTHER, CROSS, ROOT, SUB, BELOW}),  # by the cross certificate
        (pki.root("CN=Root"), set()),  # by the name alone
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value.certificate.subject),
)
def test_those_below(named: pki.Issuer, below: set[pki.Issuer]) -> None:
    trusted = [each.certificate for each in (BELOW, SUB, ROOT, CROSS)]
    expected = {named.certificate, *(each.certificate for each in below)}
    assert with_those_below([named.certificate], trusted) == expected


def test_nobody_is_below_a_ca_whose_link_is_not_trusted() -> None:
    assert with_those_below([ROOT.certificate], [BELOW.certificate]) == {ROOT.certificate}
    assert with_those_below([], [ROOT.certificate]) == frozenset()
