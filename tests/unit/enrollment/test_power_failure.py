"""What is on disk when: before a CA is asked, before a client is answered. A failure of power undoes the rest."""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest import skipUnless

from sqlalchemy import Connection

from kipuka.errors import Kind
from kipuka.store.rows import State
from tests.support import disk
from tests.unit.enrollment.office import csr
from tests.unit.enrollment.test_registration import Case


class Waits(Case):
    """Which writes are to wait for the disk, in their order."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[str] = []
        database = self.node.store._database
        write = database.write

        def noted(*, durable: bool = True) -> AbstractContextManager[Connection]:
            self.seen.append("on disk" if durable else "written")
            return write(durable=durable)

        self.patch(database, "write", noted)
        self.ca.on_call = lambda: self.seen.append("asked")

    def test_the_row_is_on_disk_before_the_ca_is_asked_and_the_certificate_before_the_client_is_answered(self) -> None:
        answered = self.successResultOf(self.node.ask(csr()))
        assert self.seen == ["written", "on disk", "asked", "on disk"]
        answered.written()
        assert self.seen[4:] == ["written"]


@skipUnless(disk.is_possible(), "the numbers of this machine's system calls are not known")
class FailingDisk(Case):
    """What really waits for it: a disk that cannot be synchronised shows who believed that it had been."""

    def setUp(self) -> None:
        super().setUp()
        self.answered = self.successResultOf(self.node.ask(csr()))  # the head of SQLite's log is synchronised by now

    def test_no_ca_is_asked_what_is_not_on_the_disk(self) -> None:
        def work() -> None:
            disk.fail()
            assert self.kind_of(self.node.ask(csr())) is Kind.UNREACHABLE

        disk.in_a_thread(work)
        assert self.node.states() == [State.ISSUED, State.RECEIVED]
        assert len(self.ca.asked) == 1

    def test_no_client_is_given_a_certificate_that_is_not_on_the_disk(self) -> None:
        self.ca.on_call = disk.fail
        waiting = disk.in_a_thread(lambda: self.node.ask(csr()))
        self.assertNoResult(waiting)
        assert self.node.states() == [State.ISSUED, State.SUBMITTING]
        self.clock.advance(1)  # in this thread the disk is well
        assert self.successResultOf(waiting).certificate is not None

    def test_what_went_out_waits_for_no_disk(self) -> None:
        def work() -> None:
            disk.fail()
            self.answered.written()

        disk.in_a_thread(work)
        assert self.node.states() == [State.DELIVERED]
