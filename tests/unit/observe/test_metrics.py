"""What is counted under which name, and that nobody outside can make a series."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from kipuka.errors import Kind
from kipuka.observe import metrics as module
from kipuka.observe.metrics import ENROLLING, NO_LABEL, OTHER, Metrics, Names
from tests.support import promtool
from tests.unit.observe.numbers import NAMES, complete, series, value

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "monitoring.md"


def enrollments(metrics: Metrics, label: str, ca: str, outcome: str, operation: str = "simpleenroll") -> float | None:
    return value(metrics, "kipuka_enrollments_total", label=label, ca=ca, operation=operation, outcome=outcome)


def test_an_enrollment_is_counted_by_label_ca_operation_and_outcome() -> None:
    metrics = Metrics(NAMES, Clock().seconds)
    metrics.began("simpleenroll", "plant")("issued")
    metrics.began("simplereenroll", "plant")("pending")
    metrics.began("simpleenroll", None)("forbidden")
    metrics.began("simpleenroll", None)("gone")
    assert enrollments(metrics, "plant", "pool", "issued") == 1
    assert enrollments(metrics, "plant", "pool", "pending", "simplereenroll") == 1
    assert enrollments(metrics, NO_LABEL, "main", "forbidden") == 1
    assert enrollments(metrics, NO_LABEL, "main", "gone") == 1


def test_issued_certificates_are_counted_from_nothing_on() -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    metrics = Metrics(NAMES, Clock().seconds)
    assert enrollments(metrics, "lab", "main", "issued") == 0
    assert value(metrics, "kipuka_ledger_events_total", ca="west", event="granted") == 0
    assert value(metrics, "kipuka_audit_write_failures_total") == 0
    assert value(metrics, "kipuka_password_failures_total") == 0


def test_other_operations_are_timed_and_are_no_enrollments() -> None:
    metrics = Metrics(NAMES, Clock().seconds)
    metrics.began("cacerts", "lab")("answered")
    assert value(metrics, "kipuka_answer_seconds_count", operation="cacerts", result="answered") == 1
    assert enrollments(metrics, "lab", "main", "answered", "cacerts") is None


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        ("issued", "answered"),
        ("answered", "answered"),
        ("pending", "pending"),
        ("gone", "gone"),
        ("forbidden", "refused"),
        ("unauthenticated", "refused"),
        ("refused", "refused"),
        ("unreachable", "failed"),
        ("no_answer", "failed"),
        ("misconfigured", "failed"),
        ("internal", "failed"),
    ],
)
def test_the_time_of_an_answer_goes_by_what_came_of_it(outcome: str, result: str) -> None:
    clock = Clock()
    metrics = Metrics(NAMES, clock.seconds)
    ended = metrics.began("simpleenroll", "lab")
    clock.advance(0.3)
    ended(outcome)
    labels = {"operation": "simpleenroll", "result": result}
    assert value(metrics, "kipuka_answer_seconds_sum", **labels) == pytest.approx(0.3)
    assert value(metrics, "kipuka_answer_seconds_bucket", le="0.25", **labels) == 0
    assert value(metrics, "kipuka_answer_seconds_bucket", le="0.5", **labels) == 1


def test_a_call_to_a_ca_is_counted_by_outcome() -> None:
    metrics = Metrics(NAMES, Clock().seconds)
    metrics.called("east", "enroll", "2xx", 0.04)
    metrics.called("east", "enroll", "no_answer", 30)
    for outcome, result, seconds in (("2xx", "answered", 0.04), ("no_answer", "failed", 30)):
        labels = {"ca": "east", "operation": "enroll"}
        assert value(metrics, "kipuka_ca_calls_total", outcome=outcome, **labels) == 1
        assert value(metrics, "kipuka_ca_call_seconds_count", result=result, **labels) == 1
        assert value(metrics, "kipuka_ca_call_seconds_sum", result=result, **labels) == pytest.approx(seconds)


def test_no_name_from_outside_becomes_a_series() -> None:
    metrics = Metrics(NAMES, Clock().seconds)
    sizes = set()
    for number in range(100):
        metrics.began("simpleenroll", f"label-{number}")("not_found")
        metrics.began("cacerts", f"label-{number}")(f"outcome {number}")
        metrics.called(f"ca-{number}", "enroll", f"{number + 6}xx", 1)
        metrics.happened(f"ca-{number}", f"event {number}")
        sizes.add(sum(len(metric.samples) for metric in metrics.registry.collect()))
    assert len(sizes) == 1
    assert enrollments(metrics, OTHER, OTHER, "not_found") == 100
    assert value(metrics, "kipuka_ledger_events_total", ca=OTHER, event=OTHER) == 100


def test_a_label_cannot_be_called_like_the_names_that_stand_for_others() -> None:
    """Names of labels are of RFC 3986's unreserved characters."""
    assert not re.fullmatch(r"[A-Za-z0-9._~-]+", OTHER)
    assert not re.fullmatch(r"[A-Za-z0-9._~-]+", NO_LABEL)


def test_what_is_looked_at_is_as_it_is_now() -> None:
    metrics = complete()
    assert value(metrics, "kipuka_connections") == 7
    assert value(metrics, "kipuka_refused_connections_total") == 2
    assert value(metrics, "kipuka_waiting_clients") == 3
    assert value(metrics, "kipuka_ledger_rows", state="pending") == 4
    assert value(metrics, "kipuka_ledger_available") == 1
    assert value(metrics, "kipuka_ca_status", ca="east", status="circuit_open") == 1
    assert value(metrics, "kipuka_ca_status", ca="east", status="healthy") == 0
    assert value(metrics, "kipuka_ca_status", ca="west", status="healthy") == 1


def test_without_a_ledger_there_are_no_old_numbers() -> None:
    metrics = complete()
    metrics.sources.rows = lambda: None
    assert value(metrics, "kipuka_ledger_available") == 0
    assert value(metrics, "kipuka_ledger_rows", state="pending") is None


def test_a_ca_that_is_not_in_the_configuration_has_no_status() -> None:
    metrics = complete()
    metrics.sources.statuses = lambda: {"stranger": "healthy"}
    assert value(metrics, "kipuka_ca_status", ca="stranger", status="healthy") is None


def test_of_several_certificates_the_first_to_expire_counts() -> None:
    metrics = complete()
    expiry = "kipuka_certificate_expiry_timestamp_seconds"
    assert value(metrics, expiry, kind="server", name="tls.cert") == 1000
    assert value(metrics, expiry, kind="agent", name="east") == 3000
    assert value(metrics, "kipuka_crl_next_update_timestamp_seconds", kind="client_crl", name="CN=Maker") == 4000
    assert value(metrics, expiry, kind="client_crl", name="CN=Maker") is None


def test_a_new_configuration_keeps_the_counts() -> None:
    metrics = complete()
    metrics.use(Names({None: "main", "new": "main"}, {"main"}, {"granted"}))
    assert enrollments(metrics, "lab", "main", "issued") == 1
    metrics.began("simpleenroll", "new")("issued")
    assert enrollments(metrics, "new", "main", "issued") == 1
    metrics.began("simpleenroll", "lab")("not_found")
    assert enrollments(metrics, OTHER, OTHER, "not_found") == 1
    assert value(metrics, "kipuka_certificate_expiry_timestamp_seconds", kind="agent", name="east") is None


def test_the_formats() -> None:
    metrics = complete()
    media_type, body = metrics.exposition("")
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name for family in text_string_to_metric_families(body.decode())}
    assert {"kipuka_build_info", "kipuka_enrollments", "kipuka_ca_status"} <= families
    assert b"_created" not in body
    media_type, body = metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_whoever_asks_often_gets_the_same_page_for_a_second() -> None:
    clock = Clock()
    metrics = Metrics(NAMES, clock.seconds)
    before = metrics.exposition("")
    metrics.password_failed()
    clock.advance(0.9)
    assert metrics.exposition("") == before
    clock.advance(0.2)
    assert b"kipuka_password_failures_total 1.0" in metrics.exposition("")[1]


def test_the_registry_of_the_library_is_not_touched() -> None:
    complete()
    assert not [metric.name for metric in REGISTRY.collect() if metric.name.startswith("kipuka")]


def test_every_kind_of_error_has_a_result() -> None:
    """A new kind is counted as itself and not as something unknown."""
    metrics = Metrics(NAMES, Clock().seconds)
    for kind in Kind:
        metrics.began("simpleenroll", "lab")(kind.value)
        assert enrollments(metrics, "lab", "main", kind.value) == 1


def test_every_metric_is_in_the_document() -> None:
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in series(complete()) if name.startswith("kipuka_")}
    text = DOCUMENT.read_text("utf-8")
    assert {name for name in families if f"`{name}`" not in text and f"`{name}{{" not in text} == set()
    assert set(re.findall(r"^\| `(kipuka_\w+)", text, re.MULTILINE)) == families


def test_every_outcome_and_status_is_in_the_document() -> None:
    text = DOCUMENT.read_text("utf-8")
    for word in (*module._OUTCOMES, *module.STATUSES, *ENROLLING[:2]):
        assert f"`{word}`" in text, word


def test_promtool_has_nothing_against_them() -> None:
    """It warns of names and units that are not as Prometheus would have them."""
    metrics = complete()
    assert promtool.run("check", "metrics", stdin=metrics.exposition("")[1]).strip() == ""
