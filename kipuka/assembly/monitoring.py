"""What the metrics are fed with: names and dates of the configuration, failures on the way in, counts of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kipuka.config import material, model
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import Kind, RequestError
from kipuka.observe.metrics import Expiry, Metrics, Names
from kipuka.observe.seldom import Seldom
from kipuka.store.errors import StoreUnavailable
from kipuka.store.rows import State
from kipuka.tls.failures import cause
from kipuka.tls.server import Refusals, RefusedCertificate
from kipuka.web.est.authentication import InThread

_log = Logger("kipuka.metrics")
_access = Logger("kipuka.access")


def names(config: model.Config) -> Names:
    """What of a configuration may stand in the metrics.

    :raises MaterialError: a certificate or CRL cannot be read.
    """
    labels: dict[str | None, str] = {label.name: label.ca_id for label in config.est.label}
    labels[None] = config.default_ca if config.est.default_label is None else labels[config.est.default_label]
    return Names(labels, {ca.id for ca in config.ca}, {event.value for event in Event}, tuple(_expiries(config)))


def refusals(metrics: Metrics, then: Refusals) -> Refusals:
    """Count client certificates that are refused, by reason."""

    def refused(certificate: RefusedCertificate) -> None:
        metrics.handshake_failed(f"client certificate: {certificate.reason}")
        then(certificate)

    return refused


def handshakes(metrics: Metrics, seldom: Seldom) -> Callable[[Failure, str], None]:
    """Count the connections that ended because of a failed handshake, and log some."""

    def ended(reason: Failure, address: str) -> None:
        why = cause(reason)
        if why is not None:
            metrics.handshake_failed(why)
            if (tail := seldom.tail(why)) is not None:
                _access.info("{address} failed in the TLS handshake: {why}{tail}", address=address, why=why, tail=tail)

    return ended


def connections(seldom: Seldom) -> Callable[[str, str], None]:
    """Log some of the connections that were one too many."""

    def refused(address: str, limit: str) -> None:
        if (tail := seldom.tail(limit)) is not None:
            _access.warn("{address} refused unheard: {limit} is reached{tail}", address=address, limit=limit, tail=tail)

    return refused


def passwords(metrics: Metrics, in_thread: InThread[None]) -> InThread[None]:
    """Count the checks of passwords that say no."""

    def note(failure: Failure) -> Failure:
        if isinstance(failure.value, RequestError) and failure.value.kind is Kind.UNAUTHENTICATED:
            metrics.password_failed()
        return failure

    return lambda check: in_thread(check).addErrback(note)


class LedgerCounts:
    """The numbers of rows in each state, counted when somebody reads them, but not often.

    :param count: asks the ledger.
    """

    AT_MOST_EVERY = 5.0
    """Seconds between two counts; more when counting takes long, so that it never takes a twentieth of the time."""
    PATIENCE = 1.0
    """Seconds that a reader waits for a count; then it gets the one before."""
    OVERDUE = 10.0
    """Seconds after which a count that does not come means that the ledger is not there."""

    def __init__(self, count: Callable[[], Deferred[dict[State, int]]], clock: IReactorTime) -> None:
        self._count = count
        self._clock = clock
        self._rows: dict[str, int] | None = None
        self._running: Deferred[None] | None = None
        self._began = 0.0
        self._next = float("-inf")

    def rows(self) -> Mapping[str, int] | None:
        """Rows by state, as last counted; None while the ledger does not answer."""
        overdue = self._running is not None and self._clock.seconds() - self._began > self.OVERDUE
        return None if overdue else self._rows

    async def refresh(self) -> None:
        """Count again, if the last time is long enough ago."""
        if self._running is None:
            if self._clock.seconds() < self._next:
                return
            self._begin()
        waiter: Deferred[None] = Deferred()
        if self._running is not None:
            self._running.addBoth(lambda _: _tell(waiter))
            alarm = self._clock.callLater(self.PATIENCE, _tell, waiter)
            try:
                await waiter
            finally:
                if alarm.active():
                    alarm.cancel()

    def _begin(self) -> None:
        self._began = self._clock.seconds()

        async def work() -> None:
            try:
                counted = await self._count()
            except StoreUnavailable as trouble:
                self._rows = None
                _log.info("the ledger could not be counted: {trouble}", trouble=str(trouble))
            except Exception:
                self._rows = None
                _log.failure("the ledger could not be counted")
            else:
                self._rows = {state.value: number for state, number in counted.items()}
            now = self._clock.seconds()
            self._next = now + max(self.AT_MOST_EVERY, 20 * (now - self._began))

        running = Deferred.fromCoroutine(work())
        if not running.called:
            self._running = running
            running.addBoth(lambda _: self._ended())

    def _ended(self) -> None:
        self._running = None


def _tell(waiter: Deferred[None]) -> None:
    if not waiter.called:
        waiter.callback(None)


def _expiries(config: model.Config) -> Iterator[Expiry]:
    yield from _certificates("server", "tls.cert", material.certificates(config.tls.cert))
    for ca in config.ca:
        if isinstance(ca, model.FileCa):
            yield from _certificates("ca", ca.id, material.certificates(ca.cert))
        elif isinstance(ca, model.DogtagCa):
            yield from _certificates("agent", ca.id, material.certificates(ca.agent_cert))
            yield from _certificates("trust", ca.id, material.certificates(ca.ca_cert))
    for path in config.tls.client_auth.trust_anchors:
        for anchor in material.certificates(path):
            yield from _certificates("client_ca", anchor.subject.rfc4514_string(), [anchor])
    for path in config.tls.client_auth.crl:
        for crl in material.crls(path):
            if crl.next_update_utc is not None:
                yield Expiry("client_crl", crl.issuer.rfc4514_string(), crl.next_update_utc.timestamp())


def _certificates(kind: str, name: str, certificates: Iterable[x509.Certificate]) -> Iterator[Expiry]:
    for certificate in certificates:
        yield Expiry(kind, name, certificate.not_valid_after_utc.timestamp())
