"""What the assembly makes records of."""

from __future__ import annotations

from datetime import UTC, datetime

from kipuka.assembly.audit import audit_health
from kipuka.authority.pool import Transition
from kipuka.authority.pool.breaker import Circuit
from kipuka.authority.pool.health import Trouble
from kipuka.errors import Kind
from kipuka.observe.audit.record import AuditEvent, Record


def test_a_ca_that_goes_away_and_comes_back() -> None:
    noted: list[Record] = []
    note = audit_health(noted.append)
    trouble = Trouble(Kind.UNREACHABLE, "The CA cannot be reached.", datetime.now(UTC))
    note(Transition("dogtag", "pool", Circuit.CLOSED, Circuit.OPEN, trouble))
    note(Transition("dogtag", "pool", Circuit.HALF_OPEN, Circuit.CLOSED, None))
    went = Record(
        event=AuditEvent.CA_STATE,
        ca="dogtag",
        outcome="open",
        kind="unreachable",
        reason="The CA cannot be reached.",
    )
    note(Transition("dogtag", "pool", Circuit.UNTRIED, Circuit.CLOSED, trouble))
    note(Transition("dogtag", "pool", Circuit.UNTRIED, Circuit.OPEN, trouble))  # where one failure is enough
    assert [each.outcome for each in noted[2:]] == ["degraded", "open"]
    assert noted[:2] == [went, Record(event=AuditEvent.CA_STATE, ca="dogtag", outcome="closed")]
