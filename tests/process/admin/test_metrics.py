"""A real daemon is scraped, and writes its log in JSON."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.process.client import HOST, TIMEOUT, Tls
from tests.process.ledger.site import AUTO, Site, running, until
from tests.process.sites import ALICE
from tests.process.sites import Site as LocalSite
from tests.support import pki, promtool
from tests.support.daemon import Daemon
from tests.support.dogtag.server import FETCH, SUBMIT
from tests.web.fakes import basic, body
from tests.web.wire import EST, Answer

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(answer: Answer) -> Samples:
    assert answer.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def total(samples: Samples, name: str, /, **labels: str) -> float:
    return sum(value for (each, has), value in samples.items() if each == name and set(labels.items()) <= has)


def numbers(site: Site) -> Samples:
    with Tls(site.port, site.trust).connect() as connection:
        return scraped(connection.get("/metrics"))


def test_two_calls_to_dogtag_for_each_enrollment_and_the_numbers_say_so(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        site.device(user="alice").ask(AUTO)  # fetches the profile's form
        asked = site.dogtag.calls()

        def issued() -> float:
            return total(numbers(site), "kipuka_enrollments_total", label="auto", ca="dogtag", outcome="issued")

        until(lambda: issued() == 1, 10, "the first enrollment is not counted")
        before = numbers(site)
        for _ in range(5):
            assert site.device(user="alice").ask(AUTO).status == 200
        assert site.device(user="mallory").ask(AUTO).status == 401
        until(lambda: issued() == 6, 10, "the enrollments are not counted")
        after = numbers(site)
        made = site.dogtag.calls() - asked

    def grown(name: str, /, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert made[SUBMIT] == 5
    assert made[FETCH] == 5
    assert grown("kipuka_ca_calls_total", ca="dogtag", operation="enroll", outcome="2xx") == 5
    assert grown("kipuka_ca_calls_total", ca="dogtag", operation="certificate", outcome="2xx") == 5
    assert grown("kipuka_ca_calls_total", ca="dogtag", operation="template") == 0
    assert grown("kipuka_ledger_events_total", ca="dogtag", event="granted") == 5
    assert grown("kipuka_answer_seconds_count", operation="simpleenroll", result="answered") == 5
    assert grown("kipuka_enrollments_total", label="auto", outcome="unauthenticated") == 1
    assert grown("kipuka_password_failures_total") == 1
    assert total(after, "kipuka_ledger_available") == 1
    assert total(after, "kipuka_connections") >= 1
    assert total(after, "kipuka_certificate_expiry_timestamp_seconds", kind="agent", name="dogtag") > 0
    assert total(after, "process_resident_memory_bytes") > 0


def test_waiting_clients_and_rows(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        waiting = site.device().asking("manual/simpleenroll")
        site.dogtag.wait_for("pending", 1)
        until(lambda: total(numbers(site), "kipuka_waiting_clients") == 1, 10, "nobody waits")
        until(lambda: total(numbers(site), "kipuka_ledger_rows", state="pending") == 1, 10, "nothing is pending")
        site.dogtag.approve()
        waiting.result(timeout=30)
        until(lambda: total(numbers(site), "kipuka_waiting_clients") == 0, 10, "somebody still waits")


def test_what_fails_at_the_door(own: LocalSite) -> None:
    own.write()
    with Daemon(own.config) as daemon, own.client().connect() as connection:
        for plain in (b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" * 2):
            with socket.create_connection((HOST, own.port), TIMEOUT) as stranger:
                stranger.sendall(plain)
                while stranger.recv(1000):
                    pass
        until(
            lambda: total(scraped(connection.get("/metrics")), "kipuka_tls_failures_total", cause="not TLS") == 2,
            10,
            "the handshakes are not counted",
        )
        assert "Traceback" not in daemon.log_text()


def test_promtool_takes_a_real_scrape(own: LocalSite) -> None:
    own.write()
    with Daemon(own.config), own.client().connect() as connection:
        connection.get(f"{EST}/cacerts")
        answer = connection.get("/metrics")
        assert promtool.run("check", "metrics", stdin=answer.body).strip() == ""


def test_the_log_in_json(own: LocalSite) -> None:
    own.write()
    with Daemon(own.config, options=["--logger", "kipuka.observe.log.json"]) as daemon:
        csr = body(pki.csr(pki.ec_key(), "CN=device-1"))
        with own.client().connect() as connection:
            assert connection.post(f"{EST}/simpleenroll", csr, authorization=basic(*ALICE)).status == 200
            refused = connection.post(f"{EST}/simpleenroll", b"nonsense", authorization=basic(*ALICE))
    reference = re.search(r"reference ([0-9a-f]{8})", refused.text)
    assert reference is not None
    records = [json.loads(line) for line in daemon.log_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(record) for record in records))
    named = [record for record in records if record.get("reference") == reference[1]]
    assert {"kipuka.access", "kipuka.audit"} <= {record["logger"] for record in named}
    (access,) = (record for record in named if record["logger"] == "kipuka.access")
    assert access["fields"]["status"] == 400
    issued = [record for record in records if '"event": "enrollment",' in record["message"]]
    assert json.loads(issued[0]["message"])["reference"] == issued[0]["reference"]
    assert ALICE[1] not in daemon.log_text()
