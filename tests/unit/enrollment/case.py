"""A CA, a ledger and a registration authority before them, with a clock that the test moves."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kipuka.errors import AuthorityError, Kind
from tests.unit.enrollment.office import FakeAuthority, Node


def trouble(kind: Kind) -> AuthorityError:
    return AuthorityError(kind, f"The CA says {kind.value}.")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.clock = Clock()
        self.clock.advance(datetime.now(UTC).timestamp())
        self.ca = FakeAuthority()
        self.nodes: list[Node] = []
        self.node = self.new_node("node-1")

    def new_node(self, name: str) -> Node:
        node = Node(self.folder, self.ca, self.clock, name)
        self.nodes.append(node)
        self.addCleanup(node.close)
        return node

    def kind_of(self, answer: Deferred[object]) -> Kind:
        error = self.failureResultOf(answer, AuthorityError).value
        assert isinstance(error, AuthorityError)
        return error.kind
