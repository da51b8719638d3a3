"""Enrolling at the stand-in: what is asked, and what becomes of it."""

from __future__ import annotations

import pytest
from cryptography import x509

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import EnrollmentRequest, Issued
from kipuka.errors import AuthorityError
from tests.support import pki
from tests.support.dogtag.standin import now

SUBMIT, CHAIN = ("POST", "/ca/rest/certrequests"), ("GET", "/ca/rest/config/cert/signing")
ERROR_500 = Answer(500, "application/json", b'{"Message":"Failed to connect LDAP server"}')


def request(subject: str = "CN=device", profile: str | None = None, **more: object) -> EnrollmentRequest:
    return EnrollmentRequest(pki.csr(pki.ec_key(), subject), profile, "user:alice", **more)  # type: ignore[arg-type]


def fails(authority: DogtagAuthority, asked: EnrollmentRequest | None = None) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        now(authority.enroll(asked or request()))
    return caught.value


def issued(authority: DogtagAuthority, asked: EnrollmentRequest | None = None) -> x509.Certificate:
    outcome = now(authority.enroll(asked or request()))
    assert isinstance(outcome, Issued)
    return outcome.certificate
