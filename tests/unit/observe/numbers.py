"""A registry in which every metric that kipuka has shows at least one sample."""

from __future__ import annotations

from twisted.internet.task import Clock

from kipuka.observe.metrics import Expiry, Metrics, Names, Sources

NAMES = Names(
    labels={None: "main", "lab": "main", "plant": "pool"},
    cas={"main", "east", "west"},
    events={"granted", "refused"},
    expiries=(
        Expiry("server", "tls.cert", 2000.0),
        Expiry("server", "tls.cert", 1000.0),
        Expiry("agent", "east", 3000.0),
        Expiry("client_crl", "CN=Maker", 4000.0),
    ),
)


def complete() -> Metrics:
    """All of it, with something in every metric."""
    clock = Clock()
    metrics = Metrics(NAMES, clock.seconds)
    metrics.sources = Sources(
        connections=lambda: 7,
        refused_connections=lambda: 2,
        waiting=lambda: 3,
        rows=lambda: {"pending": 4, "unknown": 0},
        statuses=lambda: {"east": "circuit_open", "west": "healthy"},
    )
    metrics.began("simpleenroll", "lab")("issued")
    metrics.called("east", "enroll", "2xx", 0.02)
    metrics.happened("east", "granted")
    metrics.handshake_failed("not TLS")
    metrics.password_failed()
    metrics.audit_failed()
    return metrics


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    """One sample; None when there is no such series."""
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


def series(metrics: Metrics) -> set[str]:
    """The name of every sample, as PromQL has it."""
    return {sample.name for metric in metrics.registry.collect() for sample in metric.samples}
