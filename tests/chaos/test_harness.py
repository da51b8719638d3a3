"""The harness itself: it sees what is lost and doubled, repeats its schedule, and cuts where it says. No lab needed."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from cryptography import x509

from tests.chaos import report, schedule
from tests.chaos.clients import Result, public_key
from tests.chaos.dogtag import agreed
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import CLIENT_LINK, CLONE, Action, Direction, Renewal, Treatment, Victim
from tests.chaos.verify import judge
from tests.support import pki

CA = pki.root("CN=Chaos Test CA")


def issued(key: pki.PrivateKey) -> x509.Certificate:
    return CA.client("CN=device,O=chaos", key=key).certificate


def result(key: pki.PrivateKey, certificate: x509.Certificate | None, operation: str = "simpleenroll") -> Result:
    return Result(
        number=0,
        operation=operation,
        key=public_key(key.public_key()),
        refusal_expected=False,
        attempts=1,
        failures=0,
        seconds=1.0,
        certificate=certificate,
    )


class TestVerdict:
    def test_good_when_each_request_has_its_certificate(self) -> None:
        key, new_key = pki.ec_key(), pki.ec_key()
        first, renewed, other = issued(key), issued(key), issued(new_key)
        results = [result(key, first), result(key, renewed, "simplereenroll"), result(new_key, other, "simplereenroll")]
        assert judge(results, [other, renewed, first]).good

    def test_a_second_certificate_for_a_request_is_doubled(self) -> None:
        key = pki.ec_key()
        first, second, third = issued(key), issued(key), issued(key)
        verdict = judge([result(key, first)], [first, second, third])
        assert [each.certificates for each in verdict.doubled] == [2]
        assert not verdict.lost
        assert not verdict.good

    def test_a_second_certificate_is_doubled_beside_a_renewal_too(self) -> None:
        key = pki.ec_key()
        first, renewed, stray = issued(key), issued(key), issued(key)
        verdict = judge([result(key, first), result(key, renewed, "simplereenroll")], [first, renewed, stray])
        assert [each.certificates for each in verdict.doubled] == [1]

    def test_a_certificate_that_its_client_never_got_is_lost_and_not_doubled(self) -> None:
        key = pki.ec_key()
        verdict = judge([result(key, None)], [issued(key)])
        assert len(verdict.lost) == 1
        assert not verdict.doubled

    def test_a_request_that_was_never_issued_is_lost(self) -> None:
        assert len(judge([result(pki.ec_key(), None)], []).lost) == 1

    def test_a_renewal_answered_with_the_old_certificate_is_lost(self) -> None:
        key = pki.ec_key()
        first = issued(key)
        verdict = judge([result(key, first), result(key, first, "simplereenroll")], [first])
        assert [each.certificates for each in verdict.lost] == [1]

    def test_a_certificate_the_ca_does_not_know_is_wrong(self) -> None:
        key = pki.ec_key()
        assert len(judge([result(key, issued(key))], []).wrong) == 1

    def test_a_certificate_for_an_unknown_key_is_wrong(self) -> None:
        assert len(judge([], [issued(pki.ec_key())]).wrong) == 1

    def test_a_refusal_that_was_told_is_good(self) -> None:
        refused = dataclasses.replace(result(pki.ec_key(), None), refusal_expected=True, refusal="403 no")
        assert judge([refused], []).good

    def test_a_refusal_that_was_not_told_is_wrong(self) -> None:
        refused = dataclasses.replace(result(pki.ec_key(), None), refusal_expected=True, trouble="given up")
        assert len(judge([refused], []).wrong) == 1

    def test_a_refusal_that_nobody_decided_is_lost(self) -> None:
        assert len(judge([dataclasses.replace(result(pki.ec_key(), None), refusal="403 no")], []).lost) == 1

    def test_a_certificate_for_a_refused_request_is_doubled_and_wrong(self) -> None:
        key = pki.ec_key()
        certificate = issued(key)
        verdict = judge([dataclasses.replace(result(key, certificate), refusal_expected=True)], [certificate])
        assert [each.certificates for each in verdict.doubled] == [1]
        assert len(verdict.wrong) == 1


class TestReport:
    @pytest.mark.parametrize(("tracebacks", "ending"), [(0, "GOOD"), (1, "BAD")])
    def test_a_traceback_is_bad_whatever_became_of_the_certificates(self, tracebacks: int, ending: str) -> None:
        key = pki.ec_key()
        results = [result(key, issued(key))]
        verdict = judge(results, [each.certificate for each in results if each.certificate is not None])
        made = schedule.make(1, 1)
        run = report.Run(made, results, verdict, Counter(), {}, Counter(), seconds=1.0, tracebacks=tracebacks)
        assert run.good is (tracebacks == 0)
        assert report.table(run).splitlines()[-1].startswith(ending)


class TestSchedule:
    def test_the_seed_repeats_it(self) -> None:
        one, two = schedule.make(7, 200), schedule.make(7, 200)
        assert one == two
        treatments = [[each.treatment("link", CLIENT_LINK, index) for index in range(50)] for each in (one, two)]
        assert treatments[0] == treatments[1]
        assert schedule.make(8, 200) != one

    def test_it_has_something_of_everything(self) -> None:
        made = schedule.make(1, 500)
        assert {each.renewal for each in made.plans} == set(Renewal)
        assert {each.victim for each in made.kills} == set(Victim) - set(CLONE)
        assert {(each.by_password, each.manual) for each in made.plans} == {
            (password, manual) for password in (True, False) for manual in (True, False)
        }
        assert any(each.refused for each in made.plans)
        assert all(each.manual for each in made.plans if each.refused)
        assert {made.treatment("link", CLIENT_LINK, index).action for index in range(200)} == set(Action)

    def test_over_a_pool_both_cas_are_hit_and_now_and_then_together(self) -> None:
        made = schedule.make(1, 2000, pool=True)
        alone = schedule.make(1, 2000)
        assert made.plans == alone.plans
        assert {each.victim for each in made.kills} == set(Victim)
        pairs = [each for each in made.kills if each.also is not None]
        assert pairs
        assert all((each.victim in CLONE) is not (each.also in CLONE) for each in pairs)
        assert not any(each.victim in CLONE or each.also for each in alone.kills)

    def test_every_kill_comes_before_the_last_operations(self) -> None:
        for count in (5, 60, 500):
            made = schedule.make(3, count)
            assert all(each.after < made.operations for each in made.kills)


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, until its client has no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        while data := connection.recv(4096):
                            connection.sendall(data)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


def answer(port: int, sent: bytes) -> bytes:
    """Send, end, and return what came back; raise as the connection ends."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(4096):
            received += data
    return received


class TestProxy:
    DATA = bytes(range(256)) * 400
    SHORT = DATA[:300]
    """Arrives in one piece: a proxy that closes with bytes unread would reset the connection instead."""

    def test_passes_everything_and_counts_it(self, echo: tuple[str, int]) -> None:
        with Proxy(echo, lambda _: Treatment()) as proxy:
            assert answer(proxy.port, self.DATA) == self.DATA
        assert proxy.connections == 1
        assert proxy.cuts == 0
        assert proxy.bytes == {Direction.UP: len(self.DATA), Direction.DOWN: len(self.DATA)}

    @pytest.mark.parametrize("after", [0, 1, 299])
    def test_closes_after_exactly_so_many_bytes_of_the_answer(self, echo: tuple[str, int], after: int) -> None:
        with Proxy(echo, lambda _: Treatment(Action.FIN, Direction.DOWN, after)) as proxy:
            assert answer(proxy.port, self.SHORT) == self.SHORT[:after]
        assert proxy.cuts == 1
        assert proxy.bytes[Direction.DOWN] == after

    def test_resets_in_the_middle_of_a_request(self, echo: tuple[str, int]) -> None:
        treatment = Treatment(Action.RESET, Direction.UP, 1000)
        with Proxy(echo, lambda _: treatment) as proxy, pytest.raises(ConnectionError):
            answer(proxy.port, self.DATA)
        assert proxy.actions == {Action.RESET: 1}
        assert proxy.bytes[Direction.UP] == 1000

    def test_goes_on_after_a_stall(self, echo: tuple[str, int]) -> None:
        with Proxy(echo, lambda _: Treatment(Action.STALL, Direction.UP, 1000, seconds=0.2)) as proxy:
            assert answer(proxy.port, self.DATA) == self.DATA
        assert proxy.actions == {Action.STALL: 1}
        assert proxy.cuts == 0

    def test_each_connection_has_its_own_treatment(self, echo: tuple[str, int]) -> None:
        treatments = [Treatment(Action.FIN, Direction.DOWN, 5), Treatment()]
        with Proxy(echo, lambda index: treatments[index]) as proxy:
            assert answer(proxy.port, self.SHORT) == self.SHORT[:5]
            assert answer(proxy.port, self.DATA) == self.DATA

    def test_nobody_behind_it_ends_the_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            target = closed.getsockname()
        with Proxy(target, lambda _: Treatment()) as proxy, pytest.raises(ConnectionError):
            answer(proxy.port, self.DATA)
        assert proxy.unreachable == 1

    def test_shut_it_refuses_and_open_again_it_takes_connections_at_the_same_port(self, echo: tuple[str, int]) -> None:
        with Proxy(echo, lambda _: Treatment()) as proxy:
            proxy.shut()
            with pytest.raises(ConnectionRefusedError):
                answer(proxy.port, self.SHORT)
            proxy.open()
            assert answer(proxy.port, self.SHORT) == self.SHORT
        assert proxy.connections == 1
        assert proxy.unreachable == 0


class FakeCA:
    """Answers one thing after the other, then the last for ever; errors are raised."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)

    def ask(self) -> object:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class TestAgreement:
    def agreed(self, *cas: FakeCA, seconds: float = 10) -> object:
        return agreed(cas, FakeCA.ask, seconds=seconds, interval=0.01)

    def test_one_alone_is_believed(self) -> None:
        assert self.agreed(FakeCA({1, 2})) == {1, 2}

    def test_what_replicates_late_is_waited_for(self) -> None:
        assert self.agreed(FakeCA({1, 2}), FakeCA({1}, OSError(), {1, 2})) == {1, 2}

    def test_what_never_replicates_stops_the_run(self) -> None:
        with pytest.raises(RuntimeError, match="do not come to agree"):
            self.agreed(FakeCA({1, 2}), FakeCA({1}), seconds=0.05)
