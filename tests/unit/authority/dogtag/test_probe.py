"""kipuka.authority.dogtag.DogtagAuthority over the stand-in is asked whether it is well."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import Probed
from kipuka.errors import AuthorityError, Kind
from tests.support.dogtag.standin import StandIn, now
from tests.unit.authority.dogtag.enrolling import CHAIN


def probe_fails(authority: DogtagAuthority) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        now(authority.probe())
    return caught.value


def test_a_probe_asks_the_directory_for_the_cas_own_certificate() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    own = ("GET", f"/ca/rest/certs/{dogtag.issuer.certificate.serial_number:#x}")
    assert isinstance(authority, Probed)
    now(authority.probe())
    now(authority.probe())
    assert dogtag.calls == [CHAIN, own, own]


def test_a_ca_that_only_says_it_is_running_is_not_well() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.probe())
    dogtag.ldap_down = True
    error = probe_fails(authority)
    assert error.kind is Kind.BAD_ANSWER
    assert "LDAP" in error.cause
    dogtag.ldap_down = False
    now(authority.probe())


def test_a_ca_without_a_record_of_its_own_certificate_is_well() -> None:
    dogtag = StandIn()
    dogtag.issued.clear()
    now(dogtag.authority().probe())


def test_anybody_elses_404_is_no_sign_of_life() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.probe())
    dogtag.answer_next(Answer(404, "application/json", b'{"error":"not_found"}'))
    assert probe_fails(authority).kind is Kind.BAD_ANSWER
    dogtag.prefixes = ()
    assert probe_fails(authority).kind is Kind.UNREACHABLE


def test_a_probe_goes_where_the_configuration_says() -> None:
    dogtag = StandIn()
    authority = dogtag.authority(paths={"probe": "/ca/rest/certs/0x1"})
    now(authority.probe())
    assert dogtag.calls[-1] == ("GET", "/ca/rest/certs/0x1")


def test_a_probe_does_not_wait_behind_stalled_requests() -> None:
    dogtag = StandIn()
    authority = dogtag.authority()
    now(authority.probe())
    for _ in range(8):  # as many as there are connections
        dogtag.hang_next()
        Deferred.fromCoroutine(authority.status(dogtag.issuer.certificate)).addErrback(lambda _: None)
    with pytest.raises(AssertionError, match="still waiting"):
        now(authority.status(dogtag.issuer.certificate))
    now(authority.probe())
