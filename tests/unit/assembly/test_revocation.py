"""kipuka.assembly.cas.revocation: who revokes for whom, and what an administrator is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed

from kipuka.assembly.cas.pools import Pools
from kipuka.assembly.cas.revocation import ForAdministrators, issuers
from kipuka.authority.interface import Authority
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.revoking import Effect, Reason, Revoked, Standing
from kipuka.enrollment.revocation import Revocation, RevocationResult
from tests.support import pki
from tests.support.dogtag.standin import StandIn, now
from tests.unit.enrollment.office import FakeAuthority


def test_members_of_a_group_stand_in_for_each_other_in_its_order() -> None:
    cas = {name: StandIn().authority() for name in ("one", "two", "three")}
    members = [SimpleNamespace(id="two"), SimpleNamespace(id="one")]
    grouped = Pools({"pool": cast("Any", SimpleNamespace(members=members))}, {}, {}, {}, {})
    others: dict[str, Authority] = {"deaf": FakeAuthority()}  # one that cannot revoke
    assert issuers(cas | others, grouped) == {"three": [cas["three"]], "pool": [cas["two"], cas["one"]]}


def test_only_a_ca_whose_breaker_is_open_counts_as_away() -> None:
    watches = {each.value: SimpleNamespace(vitals=SimpleNamespace(circuit=each)) for each in Circuit}
    grouped = Pools({}, cast("Any", watches), {}, {}, {})
    assert [each for each in (*watches, "not watched") if grouped.is_away(each)] == ["open"]


class Asked:
    """Revokes everything."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Reason, str | None, str]] = []

    def revoke(self, serial: int, reason: Reason, ca_id: str | None, by: str) -> Deferred[RevocationResult]:
        self.asked.append((serial, reason, ca_id, by))
        standing = Standing("CN=device-1", None, reason, pki.NOW)
        return succeed(RevocationResult(serial, "main", Revoked(Effect.REVOKED, standing, "done")))


def test_what_an_administrator_is_told() -> None:
    asked = Asked()
    told = now(ForAdministrators(cast("Revocation", asked)).revoke(26, "keyCompromise", None, "token:ops"))
    assert asked.asked == [(26, Reason.KEY_COMPROMISE, None, "token:ops")]
    assert told == {
        "serial": "0x1a",
        "ca_id": "main",
        "outcome": "revoked",
        "subject": "CN=device-1",
        "reason": "keyCompromise",
        "since": pki.NOW.isoformat(),
        "said": "done",
    }
