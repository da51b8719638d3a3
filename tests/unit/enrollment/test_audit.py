"""What the audit has of an enrollment, and that without it no CA is asked."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred, fail, succeed

from kipuka.authority.interface import Pending
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.registration import Registration
from kipuka.enrollment.submission import Submitter
from kipuka.errors import AuthorityError, Kind
from kipuka.observe.audit.chain import Walk
from kipuka.observe.audit.record import AuditEvent, Origin, Record
from kipuka.store.rows import State
from tests.support import pki
from tests.unit.enrollment.office import ALICE, TIMES, Node, csr
from tests.unit.enrollment.test_registration import Case as Base

UNAVAILABLE = AuthorityError(Kind.UNREACHABLE, "The server cannot write its audit at the moment: try again later.")


class FakeTrail:
    """Writes down what it is told, unless it cannot."""

    def __init__(self) -> None:
        self.repeated: list[Record] = []
        self.attested: list[Record] = []
        self.answer: Deferred[None] | None = None

    def stamped(self, record: Record) -> Record:
        return replace(record, node="ra1")

    def repeat(self, record: Record) -> None:
        self.repeated.append(record)

    async def attest(self, record: Record) -> None:
        await (self.answer or succeed(None))
        self.attested.append(record)


class Audited(Base):
    def new_node(self, name: str) -> Node:
        node = super().new_node(name)
        self.trail = FakeTrail()
        node.ledger = Ledger(lambda: node.store, node._run, self.clock, name, node._record, audit=self.trail)
        node.ledger.open()
        node.submitter = Submitter(self.ca, node.ledger)
        node.registration = Registration(node.submitter, node.ledger, TIMES, label="lab", profile="p")
        return node

    def stored(self) -> list[dict[str, object]]:
        assert list(self.node.store.audit.check(Walk())) == []
        return [entry.facts for entry in reversed(self.node.store.audit.page())]

    def test_every_event_is_recorded_once_in_each_place(self) -> None:
        self.ca.script = [Pending("4711")]
        request, origin = csr(), Origin(reference="05fe2e9a", address="192.0.2.7", tls="TLSv1.3", cipher="X")
        answer = self.node.ask(request, replace(ALICE, origin=origin))
        stored = self.stored()
        assert [facts["event"] for facts in stored] == ["enrollment taken", "enrollment deferred"]
        assert stored[0]["address"] == "192.0.2.7"
        assert stored[0]["reference"] == "05fe2e9a"
        assert stored[0]["outcome"] == "submitting"
        assert (stored[1]["request"], stored[1]["caller"], stored[1]["label"]) == ("4711", "user:alice", "lab")
        assert "address" not in stored[1]
        assert {facts["node"] for facts in stored} == {"ra1"}
        assert [record.event.value for record in self.trail.attested] == ["enrollment taken"]
        assert [record.event.value for record in self.trail.repeated] == ["enrollment deferred"]
        # The same event has the same time everywhere.
        elsewhere = [*self.trail.attested, *self.trail.repeated]
        assert [record.values()["time"] for record in elsewhere] == [facts["time"] for facts in stored]
        answer.addErrback(lambda _: None)
        self.node.ledger.let_go()

    def test_the_end_of_a_row_is_recorded_like_all_else(self) -> None:
        """Whichever comes first: the same request asked again, or the hourly look for what is over."""
        key = pki.ec_key()
        self.successResultOf(self.node.ask(csr(key))).written()
        self.clock.advance(601)
        self.successResultOf(self.node.ask(csr(key))).written()
        assert self.node.states() == [State.CLOSED, State.DELIVERED]
        assert [record.enrollment for record in self.ends()] == [1]
        self.clock.advance(601)
        self.successResultOf(Deferred.fromCoroutine(self.node.ledger._clean()))
        assert self.node.states() == [State.CLOSED] * 2
        assert [record.enrollment for record in self.ends()] == [1, 2]
        assert [number for event, number in self.node.events if event is Event.OUTDATED] == [1, 2]
        stored = [facts for facts in self.stored() if facts["event"] == "enrollment outdated"]
        assert [(facts["enrollment"], facts["outcome"], facts["node"]) for facts in stored] == [
            (1, "closed", "ra1"),
            (2, "closed", "ra1"),
        ]
        assert [facts["time"] for facts in stored] == [record.values()["time"] for record in self.ends()]

    def ends(self) -> list[Record]:
        return [record for record in self.trail.repeated if record.event is AuditEvent.OUTDATED]

    def test_the_ca_is_asked_when_the_record_is_on_disk(self) -> None:
        self.trail.answer = writing = Deferred()
        answer = self.node.ask(csr())
        assert self.ca.asked == []
        assert self.node.states() == [State.SUBMITTING]
        writing.callback(None)
        assert self.successResultOf(answer).certificate is not None
        assert len(self.ca.asked) == 1

    def test_no_ca_is_asked_what_cannot_be_recorded(self) -> None:
        request = csr()
        self.trail.answer = fail(UNAVAILABLE)
        error = self.failureResultOf(self.node.ask(request), AuthorityError)
        assert error.value.text == UNAVAILABLE.text
        assert self.ca.asked == []
        assert self.node.states() == [State.RECEIVED]
        assert [event for event, _ in self.node.events] == [Event.TAKEN, Event.NOT_SENT]
        assert self.trail.attested == []
        self.trail.answer = None
        assert self.successResultOf(self.node.ask(request)).certificate is not None
        assert len(self.ca.asked) == 1

    def test_what_the_database_took_without_saying_so_is_recorded_once_in_each_place(self) -> None:
        request = csr()
        self.node.hold(3)  # joining, taking, and noting the certificate
        answer = self.node.ask(request)
        self.node.go_on(unconfirmed=True)
        self.clock.advance(1)
        self.successResultOf(answer).written()
        granted, written = "enrollment granted", "enrollment written out"
        assert [facts["event"] for facts in self.stored()] == ["enrollment taken", granted, written]
        assert [record.event.value for record in self.trail.repeated] == [granted, written]
        assert [event for event, _ in self.node.events] == [Event.TAKEN, Event.GRANTED, Event.WRITTEN]
        assert [record.values()["time"] for record in self.trail.repeated] == [
            facts["time"] for facts in self.stored()[1:]
        ]

    def test_what_was_taken_without_anybody_knowing_is_recorded_though_nobody_attests_it(self) -> None:
        self.node.hold(2)  # joining and taking
        origin = Origin(reference="05fe2e9a")
        answer = self.node.ask(csr(), replace(ALICE, origin=origin))
        self.node.go_on(unconfirmed=True)
        assert self.kind_of(answer) is Kind.UNREACHABLE
        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(self.node.ledger._look()))
        assert [(record.event.value, record.reference) for record in self.trail.repeated] == [
            ("enrollment taken", "05fe2e9a")
        ]
        assert (self.trail.attested, self.ca.asked) == ([], [])
        assert [event for event, _ in self.node.events] == [Event.TAKEN]

    def test_no_record_of_the_database_no_request(self) -> None:
        self.node.store._database.write = self.broken  # type: ignore[method-assign]
        self.kind_of(self.node.ask(csr()))
        assert self.ca.asked == []

    def broken(self, *, durable: bool = True) -> object:
        from kipuka.store.store import StoreUnavailable

        raise StoreUnavailable("full")
