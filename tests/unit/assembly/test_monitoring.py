"""What the metrics are fed with."""

from __future__ import annotations

from pathlib import Path

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kipuka.access.credentials.users import wrong_credentials
from kipuka.assembly import monitoring
from kipuka.config.load import build
from kipuka.errors import Kind, RequestError
from kipuka.observe.metrics import Metrics, Names
from kipuka.observe.seldom import EVERY, Seldom
from kipuka.store.errors import StoreUnavailable
from kipuka.store.rows import State
from kipuka.tls.server import RefusedCertificate
from tests.support import pki
from tests.unit.observe.numbers import NAMES, value

LATE = pki.NOW.timestamp()


def names(folder: Path, est: dict[str, object]) -> Names:
    root = pki.root("CN=Main CA")
    root.write(folder, "ca")
    root.server().write(folder, "tls")
    root.client("CN=agent").write(folder, "agent")
    (folder / "crl.pem").write_bytes(root.crl().public_bytes(pki.serialization.Encoding.PEM))
    tables = {
        "tls": {
            "cert": "tls.pem",
            "key": "tls-key.pem",
            "client_auth": {"trust_anchors": "ca.pem", "crl": "crl.pem"},
        },
        "ca": [
            {"id": "main", "cert": "ca.pem", "key": "ca-key.pem"},
            {
                "id": "dogtag",
                "type": "dogtag",
                "url": "https://ca.example",
                "agent_cert": "agent.pem",
                "agent_key": "agent-key.pem",
                "ca_cert": "ca.pem",
                "profile": "caServerCert",
            },
        ],
        "est": est,
    }
    return monitoring.names(build(tables, folder))


def test_labels_and_cas(tmp_path: Path) -> None:
    label = {"name": "plant", "ca_id": "dogtag", "auth": ["certificate"]}
    found = names(tmp_path, {"label": [label]})
    assert found.labels == {None: "main", "plant": "dogtag"}
    assert found.cas == {"main", "dogtag"}
    assert {"granted", "answer lost"} <= set(found.events)


def test_paths_without_a_label_belong_to_the_ca_of_the_default_label(tmp_path: Path) -> None:
    label = {"name": "plant", "ca_id": "dogtag", "auth": ["certificate"]}
    assert names(tmp_path, {"label": [label], "default_label": "plant"}).labels[None] == "dogtag"


def test_every_date_that_matters(tmp_path: Path) -> None:
    found = tuple(names(tmp_path, {}).expiries)
    assert {(each.kind, each.name) for each in found} == {
        ("server", "tls.cert"),
        ("ca", "main"),
        ("agent", "dogtag"),
        ("trust", "dogtag"),
        ("client_ca", "CN=Main CA"),
        ("client_crl", "CN=Main CA"),
    }
    assert all(each.at > LATE for each in found)
    (server,) = (each.at for each in found if each.kind == "server")
    certificate = pki.x509.load_pem_x509_certificate((tmp_path / "tls.pem").read_bytes())
    assert server == certificate.not_valid_after_utc.timestamp()


class LedgerCountsTests(SynchronousTestCase):
    """Counted when somebody reads, but seldom, and never waited for long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked = 0
        self.answer: Deferred[dict[State, int]] = succeed({State.PENDING: 3})
        self.counts = monitoring.LedgerCounts(self._count, self.clock)

    def _count(self) -> Deferred[dict[State, int]]:
        self.asked += 1
        return self.answer

    def refresh(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.counts.refresh())

    def test_nothing_is_known_before_the_first(self) -> None:
        assert self.counts.rows() is None
        self.successResultOf(self.refresh())
        assert self.counts.rows() == {"pending": 3}

    def test_readers_in_quick_succession_cause_one_count(self) -> None:
        for _ in range(5):
            self.successResultOf(self.refresh())
        assert self.asked == 1
        self.clock.advance(5)
        self.answer = succeed({State.PENDING: 4})
        self.successResultOf(self.refresh())
        assert (self.asked, self.counts.rows()) == (2, {"pending": 4})

    def test_readers_at_the_same_time_share_one(self) -> None:
        self.answer = Deferred()
        waiting = [self.refresh(), self.refresh()]
        assert self.asked == 1
        self.answer.callback({State.PENDING: 1})
        for each in waiting:
            self.successResultOf(each)
        assert self.clock.getDelayedCalls() == []

    def test_a_slow_count_is_not_waited_for_and_not_made_often(self) -> None:
        self.successResultOf(self.refresh())
        self.clock.advance(5)
        self.answer = Deferred()
        waiting = self.refresh()
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.successResultOf(waiting)
        assert self.counts.rows() == {"pending": 3}  # the one before
        self.answer.callback({State.PENDING: 9})
        assert self.counts.rows() == {"pending": 9}
        self.clock.advance(19)
        self.successResultOf(self.refresh())
        assert self.asked == 2
        self.clock.advance(1)
        self.answer = succeed({})
        self.successResultOf(self.refresh())
        assert self.asked == 3

    def test_one_that_does_not_come_means_that_the_ledger_is_away(self) -> None:
        self.successResultOf(self.refresh())
        self.clock.advance(5)
        self.answer = Deferred()
        self.refresh()
        self.clock.advance(11)
        assert self.counts.rows() is None

    def test_a_ledger_that_cannot_be_asked(self) -> None:
        self.successResultOf(self.refresh())
        self.clock.advance(5)
        self.answer = fail(StoreUnavailable("the disk is full"))
        self.successResultOf(self.refresh())
        assert self.counts.rows() is None
        self.clock.advance(5)
        self.answer = succeed({State.PENDING: 1})
        self.successResultOf(self.refresh())
        assert self.counts.rows() == {"pending": 1}

    def test_what_nobody_foresaw_is_logged_and_ends_nothing(self) -> None:
        self.answer = fail(ZeroDivisionError())
        self.successResultOf(self.refresh())
        assert self.counts.rows() is None
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1

    def test_a_reader_that_goes_away_takes_nobody_along(self) -> None:
        self.answer = Deferred()
        gone, stays = self.refresh(), self.refresh()
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.answer.callback({State.PENDING: 1})
        self.successResultOf(stays)
        assert self.counts.rows() == {"pending": 1}


class FailureTests(SynchronousTestCase):
    """What is counted on the way in."""

    def setUp(self) -> None:
        self.metrics = Metrics(NAMES, Clock().seconds)

    def test_wrong_passwords_and_nothing_else(self) -> None:
        results: list[Deferred[None]] = [
            succeed(None),
            fail(wrong_credentials()),
            fail(RequestError(Kind.BUSY, "Later.")),
            fail(ZeroDivisionError()),
        ]
        check = monitoring.passwords(self.metrics, lambda _: results.pop(0))
        self.successResultOf(check(lambda: None))
        for error in (RequestError, RequestError, ZeroDivisionError):
            self.failureResultOf(check(lambda: None), error)
        assert value(self.metrics, "kipuka_password_failures_total") == 1

    def test_failed_handshakes(self) -> None:
        clock, failed = Clock(), Failure(SSL.Error([("SSL routines", "", "http request")]))
        ended = monitoring.handshakes(self.metrics, Seldom(clock.seconds))
        with capturedLogs() as logged:
            ended(Failure(ConnectionDone()), "192.0.2.1")
            for number in range(5):
                ended(failed, f"192.0.2.{number}")
            ended(Failure(SSL.Error([("SSL routines", "", "unsupported protocol")])), "192.0.2.9")
            clock.advance(EVERY)
            ended(failed, "2001:db8::1")
        assert value(self.metrics, "kipuka_tls_failures_total", cause="not TLS") == 6
        assert [formatEvent(event) for event in logged] == [
            "192.0.2.0 failed in the TLS handshake: not TLS",
            "192.0.2.9 failed in the TLS handshake: protocol version",
            "2001:db8::1 failed in the TLS handshake: not TLS (and 4 more since the last such line)",
        ]

    def test_connections_that_were_one_too_many(self) -> None:
        clock = Clock()
        refused = monitoring.connections(Seldom(clock.seconds))
        with capturedLogs() as logged:
            for limit in ("max_connections_per_address", "max_connections_per_address", "max_connections"):
                refused("192.0.2.7", limit)
            clock.advance(-3600)  # a wall clock may be set
            refused("192.0.2.8", "max_connections_per_address")
        assert [formatEvent(event) for event in logged] == [
            "192.0.2.7 refused unheard: max_connections_per_address is reached",
            "192.0.2.7 refused unheard: max_connections is reached",
            "192.0.2.8 refused unheard: max_connections_per_address is reached (and 1 more since the last such line)",
        ]


@pytest.mark.parametrize(("errno", "reason"), [(10, "expired"), (23, "revoked"), (12345, "not valid")])
def test_refused_certificates_by_reason(errno: int, reason: str) -> None:
    metrics = Metrics(NAMES, Clock().seconds)
    audited: list[object] = []
    refused = RefusedCertificate("192.0.2.7", errno, 0, "CN=device", 5)
    monitoring.refusals(metrics, audited.append)(refused)
    assert audited == [refused]
    assert value(metrics, "kipuka_tls_failures_total", cause=f"client certificate: {reason}") == 1
