"""The numbers that kipuka shows to Prometheus: a registry of its own, no threads, and no series that a device can make.

Names in label values come from the configuration or from the source; whatever else turns up is counted under
``(other)``. The rooms are given plain callables (the methods of :class:`Metrics`) and know nothing of Prometheus.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import prometheus_client
from OpenSSL import SSL
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from twisted.copyright import version as twisted_version

from kipuka import __version__
from kipuka.errors import Kind

OTHER = "(other)"
"""Stands for every name that is not in the configuration."""
NO_LABEL = "(none)"
"""The paths without a label."""

ENROLLING = ("simpleenroll", "simplereenroll", "serverkeygen", "fullcmc")
"""The operations whose outcome is a certificate."""
GONE, ISSUED, PENDING, ANSWERED, FAILED = "gone", "issued", "pending", "answered", "failed"
"""Outcomes of an operation beside the kinds of errors; GONE: the client went away before its answer. ANSWERED and
FAILED are results too: outcomes in few words, for histograms, where each word makes a dozen series."""
STATUSES = ("healthy", "degraded", "circuit_open", "half_open", "unknown")
"""How a CA can stand; as in ``GET /health/ca``."""

_KINDS = frozenset(kind.value for kind in Kind)
_OUTCOMES = frozenset({GONE, ISSUED, PENDING, ANSWERED}) | _KINDS
_ANSWERS = frozenset({"1xx", "2xx", "3xx", "4xx"})
_CALL_OUTCOMES = _ANSWERS | {"5xx"} | _KINDS
_FAILURES = frozenset(
    kind.value
    for kind in (
        Kind.MISCONFIGURED,
        Kind.BAD_ANSWER,
        Kind.UNREACHABLE,
        Kind.NO_ANSWER,
        Kind.UNDECIDED,
        Kind.BUSY,
        Kind.INTERNAL,
    )
)
"""What is not the client's fault."""

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text"
# The longest waits are for an agent's approval (minutes); the shortest answers come from memory.
_ANSWER_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_FRESH = 1.0
"""Seconds for which the same page is given out again: whoever asks often costs no more than one page a second."""
_CALL_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)


@dataclass(frozen=True)
class Expiry:
    """When something runs out.

    :param kind: ``server``, ``agent``, ``ca``, ``trust`` or ``client_ca``; for CRLs ``client_crl``.
    :param name: which of them: a CA's id, or a subject.
    :param at: seconds since 1970.
    """

    kind: str
    name: str
    at: float


@dataclass(frozen=True)
class Names:
    """What the configuration names, and so may become a label value.

    :param labels: CA or group by label; None is the paths without a label.
    :param cas: the ids of the CAs that rows of the ledger and calls can belong to.
    :param events: what can happen to a row of the ledger.
    :param expiries: certificates and CRLs.
    """

    labels: Mapping[str | None, str]
    cas: Collection[str]
    events: Collection[str]
    expiries: Iterable[Expiry] = ()


@dataclass
class Sources:
    """Whom to ask when the numbers are read; every answer must come from memory, at once.

    :param connections: open connections.
    :param refused_connections: how many were closed because there were too many, since the start.
    :param waiting: clients that wait for their row of the ledger to change.
    :param rows: rows of the ledger by state; None while the ledger cannot be asked.
    :param statuses: CA by CA, how it stands: one of :data:`STATUSES`. Empty where nobody watches the CAs.
    """

    connections: Callable[[], int] = lambda: 0
    refused_connections: Callable[[], int] = lambda: 0
    waiting: Callable[[], int] = lambda: 0
    rows: Callable[[], Mapping[str, int] | None] = lambda: None
    statuses: Callable[[], Mapping[str, str]] = dict


class Metrics:
    """The registry, and what the rooms call when something happens. Counts live as long as the process.

    :param clock: seconds from any start, for durations.
    :param process: whether to add what the kernel says of the process: memory, CPU time, open files, start time.
    """

    def __init__(self, names: Names, clock: Callable[[], float], *, process: bool = True) -> None:
        # Or every counter gets a second series with the time it was made at, which the text format has no use for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.sources = Sources()
        self._pages: dict[str, tuple[float, bytes]] = {}
        self._clock = clock
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._enrollments = Counter(
            "kipuka_enrollments",
            "Requests for a certificate that were answered, by label, CA or group, operation and outcome.",
            ("label", "ca", "operation", "outcome"),
            registry=registry,
        )
        self._answers = Histogram(
            "kipuka_answer_seconds",
            "Seconds from the complete EST request to its answer, waiting for approval included.",
            ("operation", "result"),
            buckets=_ANSWER_SECONDS,
            registry=registry,
        )
        self._calls = Counter(
            "kipuka_ca_calls",
            "Calls to a CA over the network, by operation and outcome.",
            ("ca", "operation", "outcome"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "kipuka_ca_call_seconds",
            "Seconds that a call to a CA took, waiting for a free connection included.",
            ("ca", "operation", "result"),
            buckets=_CALL_SECONDS,
            registry=registry,
        )
        self._events = Counter(
            "kipuka_ledger_events",
            "What happened to requests in the ledger, whether a client waited for it or not.",
            ("ca", "event"),
            registry=registry,
        )
        self._tls = Counter(
            "kipuka_tls_failures",
            "TLS handshakes that clients began and that failed.",
            ("cause",),
            registry=registry,
        )
        self._passwords = Counter("kipuka_password_failures", "Names and passwords that were wrong.", registry=registry)
        self._audit = Counter(
            "kipuka_audit_write_failures", "Attempts to write records of the audit that failed.", registry=registry
        )
        self._reload = Gauge(
            "kipuka_config_reload_successful",
            "Whether the last reload of the configuration was used; 1 when there was none.",
            registry=registry,
        )
        self._reload.set(1)
        Info("kipuka_build", "What is running.", registry=registry).info(
            {
                "version": __version__,
                "python": platform.python_version(),
                "twisted": twisted_version,
                "openssl": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace"),
            }
        )
        registry.register(_Current(self))
        if process:
            ProcessCollector(registry=registry)
        self.use(names)

    def use(self, names: Names) -> None:
        """Go by another configuration. What was counted under names that are gone stays until the process ends."""
        self.names = names
        self.expiries = tuple(names.expiries)
        # An increase from nothing to one is invisible to rate(): what alerts and dashboards look at starts at zero.
        for label, ca in names.labels.items():
            for operation in ENROLLING[:2]:
                self._enrollments.labels(_name(label), ca, operation, ISSUED)
        for ca in names.cas:
            for event in names.events:
                self._events.labels(ca, event)

    def began(self, operation: str, label: str | None) -> Callable[[str], None]:
        """An EST operation begins.

        :param label: as in the path, known or not.
        :return: to be called with its outcome: the value of a :class:`~kipuka.errors.Kind`, or one of
            ISSUED, PENDING, ANSWERED, GONE.
        """
        start = self._clock()

        def ended(outcome: str) -> None:
            known = outcome if outcome in _OUTCOMES else OTHER
            self._answers.labels(operation, _result(known)).observe(self._clock() - start)
            if operation in ENROLLING:
                ca = self.names.labels.get(label, OTHER)
                name = _name(label) if label in self.names.labels else OTHER
                self._enrollments.labels(name, ca, operation, known).inc()

        return ended

    def called(self, ca: str, operation: str, outcome: str, seconds: float) -> None:
        """A call to a CA is over.

        :param outcome: ``2xx`` to ``5xx``, or the value of a :class:`~kipuka.errors.Kind`.
        """
        known = outcome if outcome in _CALL_OUTCOMES else OTHER
        self._calls.labels(self._ca(ca), operation, known).inc()
        result = ANSWERED if known in _ANSWERS else FAILED
        self._call_seconds.labels(self._ca(ca), operation, result).observe(seconds)

    def happened(self, ca: str, event: str) -> None:
        """Something happened to a row of the ledger."""
        self._events.labels(self._ca(ca), event if event in self.names.events else OTHER).inc()

    def handshake_failed(self, cause: str) -> None:
        """A handshake failed.

        :param cause: out of a fixed list of the caller's.
        """
        self._tls.labels(cause).inc()

    def password_failed(self) -> None:
        """A name or password was wrong."""
        self._passwords.inc()

    def audit_failed(self) -> None:
        """An attempt to write records of the audit failed."""
        self._audit.inc()

    def reloaded(self, *, well: bool) -> None:
        """The configuration was read again; when not well, the old one is still in use."""
        self._reload.set(well)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Everything in the format that the reader prefers, as it is now or was a second ago.

        :param accept: its Accept field; everything but OpenMetrics means Prometheus's text format.
        :return: media type and body.
        """
        if any(each.split(";")[0].strip().lower() == _OPENMETRICS for each in accept.split(",")):
            return self._page(openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest)
        return self._page(_TEXT, generate_latest)

    def _page(self, media_type: str, generate: Callable[[CollectorRegistry], bytes]) -> tuple[str, bytes]:
        made, page = self._pages.get(media_type, (-math.inf, b""))
        if self._clock() - made >= _FRESH:
            page = generate(self.registry)
            self._pages[media_type] = (self._clock(), page)
        return media_type, page

    def _ca(self, ca: str) -> str:
        return ca if ca in self.names.cas else OTHER


class _Current(Collector):
    """What is not counted but looked at when somebody reads."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        sources = self._metrics.sources
        yield GaugeMetricFamily("kipuka_connections", "Connections that are open.", sources.connections())
        yield CounterMetricFamily(
            "kipuka_refused_connections",
            "Connections that were closed at once because there were too many.",
            sources.refused_connections(),
        )
        yield GaugeMetricFamily(
            "kipuka_waiting_clients", "Clients that wait for their request to be decided.", sources.waiting()
        )
        yield from self._ledger(sources.rows())
        yield self._statuses(sources.statuses())
        yield self._expiries(
            "kipuka_certificate_expiry_timestamp_seconds",
            "When a certificate expires that kipuka needs, in seconds since 1970.",
            [each for each in self._metrics.expiries if each.kind != "client_crl"],
        )
        yield self._expiries(
            "kipuka_crl_next_update_timestamp_seconds",
            "When a CRL for client certificates runs out, in seconds since 1970.",
            [each for each in self._metrics.expiries if each.kind == "client_crl"],
        )

    def _ledger(self, rows: Mapping[str, int] | None) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "kipuka_ledger_available", "1 when the ledger could be asked a moment ago, else 0.", int(rows is not None)
        )
        family = GaugeMetricFamily("kipuka_ledger_rows", "Rows of the ledger by state.", labels=("state",))
        for state, number in (rows or {}).items():
            family.add_metric((state,), number)
        yield family

    def _statuses(self, statuses: Mapping[str, str]) -> Metric:
        family = GaugeMetricFamily(
            "kipuka_ca_status", "How each CA stands: 1 for the status it has, else 0.", labels=("ca", "status")
        )
        for ca, current in statuses.items():
            if ca in self._metrics.names.cas:
                for status in STATUSES:
                    family.add_metric((ca, status), int(status == current))
        return family

    def _expiries(self, name: str, text: str, expiries: Iterable[Expiry]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("kind", "name"))
        earliest: dict[tuple[str, str], float] = {}
        for each in expiries:
            earliest[each.kind, each.name] = min(each.at, earliest.get((each.kind, each.name), each.at))
        for key, at in earliest.items():
            family.add_metric(key, at)
        return family


def _name(label: str | None) -> str:
    return NO_LABEL if label is None else label


def _result(outcome: str) -> str:
    """The outcome of an operation in five words."""
    if outcome in (PENDING, GONE):
        return outcome
    if outcome in (ISSUED, ANSWERED):
        return ANSWERED
    return FAILED if outcome in _FAILURES else "refused"
