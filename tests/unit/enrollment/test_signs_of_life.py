"""Whether the ledger can be written: what /health/ready goes by."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from twisted.internet.task import Clock

from kipuka.enrollment.ledger.ledger import BEAT, STALE
from tests.unit.enrollment.office import FakeAuthority, Node


def test_a_store_that_takes_no_signs_of_life_is_noticed_and_so_is_its_return(tmp_path: Path) -> None:
    clock = Clock()
    clock.advance(1_000_000)
    with closing(Node(tmp_path, FakeAuthority(), clock)) as node:
        assert node.ledger.is_written
        node.broken = True
        passed = 0.0
        while node.ledger.is_written:
            clock.advance(BEAT)
            passed += BEAT
            assert passed <= STALE + BEAT
        assert passed > STALE - BEAT
        node.broken = False
        clock.advance(BEAT)
        assert node.ledger.is_written
