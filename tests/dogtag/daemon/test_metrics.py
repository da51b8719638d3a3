"""The numbers for a real Dogtag: two calls for each certificate, and nothing that promtool would change."""

from __future__ import annotations

from pathlib import Path

from kipuka.authority.dogtag.rest.paths import Operation
from tests.dogtag.lab_export import Lab
from tests.interop import servers
from tests.process.admin.test_metrics import Samples, scraped, total
from tests.process.client import Tls
from tests.process.ledger.site import until
from tests.support import pki, promtool
from tests.web.fakes import basic, body
from tests.web.wire import EST

PASSWORD = servers.PASSWORD
ENROLLMENTS = 5
PROBING = {Operation.PROBE, Operation.CHAIN}
"""What is asked to know whether the CA works: at any time, whether or not anybody enrolls."""


def test_two_calls_for_each_certificate(tmp_path: Path, lab: Lab) -> None:
    agent = pki.Files(lab.agent.certificate, lab.agent.key)
    site = servers.dogtag(tmp_path, lab.url, agent, lab.ca_chain, "kipukaServer")

    def enroll(number: int) -> None:
        csr = body(pki.csr(pki.ec_key(), f"CN=metrics-{number}.example"))
        answer = connection.post(f"{EST}/simpleenroll", csr, authorization=basic(PASSWORD.user, PASSWORD.secret))
        assert answer.status == 200, answer

    def calls(samples: Samples, **labels: str) -> float:
        return total(samples, "kipuka_ca_calls_total", ca="main", **labels)

    with servers.running(site) as server, Tls(server.port, server.trust).connect() as connection:

        def issued() -> float:
            return total(scraped(connection.get("/metrics")), "kipuka_enrollments_total", outcome="issued")

        enroll(0)  # fetches the profile's form
        until(lambda: issued() == 1, 10, "the first is not counted")
        before = scraped(connection.get("/metrics"))
        for number in range(1, ENROLLMENTS + 1):
            enroll(number)
        until(lambda: issued() == ENROLLMENTS + 1, 10, "not all are counted")  # a page is up to a second old
        answer = connection.get("/metrics")
    after = scraped(answer)
    assert total(after, "kipuka_ledger_events_total", event="granted") == ENROLLMENTS + 1
    grown = {
        each.value: calls(after, operation=each.value) - calls(before, operation=each.value)
        for each in Operation
        if each not in PROBING
    }
    assert {each: number for each, number in grown.items() if number} == {
        "enroll": ENROLLMENTS,
        "certificate": ENROLLMENTS,
    }
    for operation in ("enroll", "certificate"):
        assert calls(after, operation=operation, outcome="2xx") == calls(after, operation=operation)
    assert total(after, "kipuka_ca_call_seconds_sum", ca="main", operation="enroll") > 0
    assert promtool.run("check", "metrics", stdin=answer.body).strip() == ""
