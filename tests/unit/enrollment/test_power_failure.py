"""What is on disk when: before a CA is asked, before a client is answered. A failure of power undoes the rest."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Connection

from tests.unit.enrollment.office import csr
from tests.unit.enrollment.test_registration import Case


class PowerFailure(Case):
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
