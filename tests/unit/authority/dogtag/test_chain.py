"""kipuka.authority.dogtag.chain: what is given out while the CA is away, and what is believed of a kept chain."""

from __future__ import annotations

import pytest
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.chain import checked
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.errors import AuthorityError
from tests.support import pki
from tests.support.dogtag.answers import URL
from tests.support.dogtag.standin import StandIn, now

CHAIN = ("GET", "/ca/rest/config/cert/signing")
AWAY = Answer(503, "text/html", b"")
HOUR = 3600


class Memory:
    """A keeper; ``pause`` holds back what is loaded."""

    def __init__(self, kept: str | None = None) -> None:
        self.kept = kept
        self.loaded = 0
        self.saved: list[str] = []
        self.pause: Deferred[None] | None = None
        self.broken = False

    async def load(self, ca_id: str) -> str | None:
        assert ca_id == "dogtag"
        self.loaded += 1
        if self.pause is not None:
            await self.pause
        return self.kept

    async def save(self, ca_id: str, chain: str) -> None:
        assert ca_id == "dogtag"
        if self.broken:
            raise OSError("no such disk")
        self.kept = chain
        self.saved.append(chain)


def text(*certificates: x509.Certificate) -> str:
    return pki.pem(*certificates).decode()


def authority(dogtag: StandIn, keeper: Memory, ttl: float = HOUR, *trust: x509.Certificate) -> DogtagAuthority:
    client = Client(URL, dogtag.agent(), dogtag.clock)
    anchors = trust or (dogtag.issuer.certificate,)
    return DogtagAuthority(
        "dogtag", client, "kipukaServer", clock=dogtag.clock, cache_ttl=ttl, trust=anchors, keeper=keeper
    )


def test_what_was_fetched_is_kept() -> None:
    dogtag, keeper = StandIn(), Memory()
    now(authority(dogtag, keeper).chain())
    assert keeper.saved == [text(dogtag.issuer.certificate)]


def test_a_start_without_the_ca_has_the_kept_chain_at_once_and_asks_the_ca_behind() -> None:
    dogtag = StandIn()
    keeper = Memory(text(dogtag.issuer.certificate))
    ca = authority(dogtag, keeper)
    dogtag.hang_next()
    assert now(ca.chain()) == (dogtag.issuer.certificate,)
    assert now(ca.chain()) == (dogtag.issuer.certificate,)
    assert dogtag.calls == [CHAIN]
    assert keeper.loaded == 1


def test_the_first_callers_share_one_look_at_the_disk() -> None:
    dogtag = StandIn()
    keeper = Memory(text(dogtag.issuer.certificate))
    keeper.pause = Deferred()
    ca = authority(dogtag, keeper)
    dogtag.answer_next(AWAY)
    asked = [Deferred.fromCoroutine(ca.chain()) for _ in range(3)]
    keeper.pause.callback(None)
    assert [each.result for each in asked] == [(dogtag.issuer.certificate,)] * 3
    assert keeper.loaded == 1


def test_when_its_time_is_over_the_old_chain_is_given_out_while_the_new_one_is_fetched() -> None:
    dogtag, keeper = StandIn(), Memory()
    ca = authority(dogtag, keeper)
    old = now(ca.chain())
    dogtag.issuer = pki.root("CN=Renewed")
    dogtag.clock.advance(HOUR + 1)
    dogtag.hang_next()
    assert now(ca.chain()) == old
    assert now(ca.chain()) == old  # joins the fetch that hangs
    assert len(dogtag.calls) == 2
    dogtag.clock.advance(31)  # the client gives up on it
    assert now(ca.chain()) == old
    dogtag.clock.advance(11)
    now(ca.chain())
    assert now(ca.chain()) == (dogtag.issuer.certificate,)
    assert keeper.kept == text(dogtag.issuer.certificate)


def test_a_ca_that_was_never_reached_and_of_which_nothing_is_kept() -> None:
    dogtag = StandIn()
    keeper = Memory()
    ca = authority(dogtag, keeper)
    for _ in range(2):
        dogtag.answer_next(AWAY)
        with pytest.raises(AuthorityError):
            now(ca.chain())
    keeper.kept = text(dogtag.issuer.certificate)  # another node has reached it
    dogtag.clock.advance(11)
    dogtag.answer_next(AWAY)
    assert now(ca.chain()) == (dogtag.issuer.certificate,)


def test_what_another_wrote_into_the_database_is_not_given_out() -> None:
    dogtag = StandIn()
    ca = authority(dogtag, Memory(text(pki.root("CN=Stand-In CA,O=EXAMPLE").certificate)))
    dogtag.answer_next(AWAY)
    with capturedLogs() as logged, pytest.raises(AuthorityError):
        now(ca.chain())
    assert [str(event["fault"]) for event in logged] == [
        "CN=Stand-In CA,O=EXAMPLE is not among the certificates in ca_cert, nor issued by one of them"
    ]
    assert now(ca.chain()) == (dogtag.issuer.certificate,)


def test_nothing_is_kept_when_nothing_is_to_be_cached() -> None:
    dogtag = StandIn()
    keeper = Memory(text(dogtag.issuer.certificate))
    ca = authority(dogtag, keeper, 0)
    now(ca.chain())
    dogtag.answer_next(AWAY)
    with pytest.raises(AuthorityError):
        now(ca.chain())
    now(ca.probe())
    assert (keeper.loaded, keeper.saved) == (0, [])


def test_a_keeper_that_fails_is_logged_and_does_no_harm() -> None:
    dogtag, keeper = StandIn(), Memory()
    keeper.broken = True
    with capturedLogs() as logged:
        assert now(authority(dogtag, keeper).chain()) == (dogtag.issuer.certificate,)
    assert [event["log_failure"].type for event in logged] == [OSError]


ROOT = pki.root("CN=Root")
MIDDLE = ROOT.intermediate("CN=Middle")
CA = MIDDLE.intermediate("CN=CA")
WHOLE = (CA.certificate, MIDDLE.certificate, ROOT.certificate)


@pytest.mark.parametrize("anchor", WHOLE, ids=["the CA", "an intermediate", "the root"])
def test_a_kept_chain_must_hold_something_that_is_trusted(anchor: x509.Certificate) -> None:
    assert checked(text(*WHOLE), [pki.root().certificate, anchor]) == WHOLE


def test_a_kept_chain_may_end_below_what_is_trusted() -> None:
    assert checked(text(CA.certificate, MIDDLE.certificate), [ROOT.certificate]) == WHOLE[:2]


@pytest.mark.parametrize(
    ("pem", "fault"),
    [
        (text(pki.root("CN=Root").certificate), "CN=Root is not among the certificates in ca_cert"),
        (text(CA.certificate, ROOT.certificate), "CN=CA was not issued by CN=Root"),
        (text(ROOT.certificate, CA.certificate), "CN=Root was not issued by CN=CA"),
        (text(pki.root("CN=X").certificate, ROOT.certificate), "CN=X was not issued by CN=Root"),
        (text(CA.client("CN=device").certificate, *WHOLE), "CN=device is not the certificate of a CA"),
        (text(*[ROOT.certificate] * 17), "17 certificates are no chain"),
        ("", "."),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "."),
        ("\N{GRINNING FACE}", "."),
    ],
)
def test_a_kept_chain_that_is_not_believed(pem: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        checked(pem, [ROOT.certificate])


def test_without_trust_nothing_kept_is_believed() -> None:
    with pytest.raises(ValueError, match="not among"):
        checked(text(*WHOLE), [])
