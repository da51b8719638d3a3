"""Whose client certificates count at a label."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from kipuka.access.identity import Caller
from kipuka.access.policy import Credential, Policy
from kipuka.errors import Kind, RequestError
from tests.support import pki

ROOT, MAKER = pki.root(), pki.root("CN=Maker")
BELOW = ROOT.intermediate("CN=Below")
CERTIFICATE, BASIC = frozenset({Credential.CERTIFICATE}), frozenset({Credential.BASIC})


def policy(*anchors: x509.Certificate, ways: tuple[frozenset[Credential], ...] = (CERTIFICATE, BASIC)) -> Policy:
    return Policy(ways, anchors=frozenset(anchors) or None)


def caller(issuer: pki.Issuer, *above: pki.Issuer, user: str | None = None) -> Caller:
    issuers = tuple(each.certificate for each in (issuer, *above))
    return Caller(issuer.client("CN=dev1").certificate, user, "192.0.2.7", issuers)


def refusal(wanted: Policy, who: Caller) -> RequestError:
    with pytest.raises(RequestError) as caught:
        wanted.admit(who)
    return caught.value


def test_tls_06_without_trust_anchors_all_that_the_handshake_takes_counts() -> None:
    for who in (caller(ROOT), caller(MAKER), caller(BELOW, ROOT)):
        assert policy().admit(who) is who


def test_tls_06_what_is_below_a_trust_anchor_counts_and_nothing_else() -> None:
    assert policy(ROOT.certificate).admit(caller(ROOT)).certificate is not None
    assert policy(ROOT.certificate).admit(caller(BELOW, ROOT)).certificate is not None
    assert policy(MAKER.certificate, BELOW.certificate).admit(caller(BELOW)).certificate is not None
    for wanted, who in ((policy(MAKER.certificate), caller(ROOT)), (policy(BELOW.certificate), caller(ROOT))):
        assert refusal(wanted, who).kind is Kind.UNAUTHENTICATED


def test_tls_06_a_ca_of_the_same_name_is_not_the_trust_anchor() -> None:
    assert refusal(policy(ROOT.certificate), caller(pki.root(ROOT.certificate.subject))).kind is Kind.UNAUTHENTICATED


def test_tls_06_beside_a_password_a_certificate_that_does_not_count_is_left_out() -> None:
    who = caller(MAKER, user="alice")
    assert policy(ROOT.certificate).admit(who) == replace(who, certificate=None)
    assert policy(ROOT.certificate).admit(who).name == "user:alice"


def test_tls_06_where_no_password_helps_the_ca_is_named_as_the_reason() -> None:
    error = refusal(policy(ROOT.certificate, ways=(CERTIFICATE,)), caller(MAKER))
    assert error.kind is Kind.FORBIDDEN
    assert "do not count here" in error.text
    both = policy(ROOT.certificate, ways=(CERTIFICATE | BASIC,))
    assert "do not count here" in refusal(both, caller(MAKER, user="alice")).text
    nobody = Caller(None, None, "192.0.2.7")
    assert "needs a client certificate" in refusal(policy(ROOT.certificate, ways=(CERTIFICATE,)), nobody).text
