"""``kipuka enrollments``: what an operator sees of the ledger, and ending what is stuck, beside a running daemon."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka import cli
from kipuka.cli.enrollments import ADVICE, MEANING
from kipuka.enrollment.ledger.states import ENDED
from kipuka.store.rows import OPEN, Application, Enrollment, State
from kipuka.store.store import Changes, Store
from tests.support import pki, postgres

CONFIG = """
[tls]
cert = "server.pem"
key = "server-key.pem"
[[ca]]
id = "dogtag"
cert = "ca.pem"
key = "ca-key.pem"
[est]
users = "users"
[db]
url = "{}"
"""
THEN = datetime(2026, 11, 20, 8, 30, 15, 999999, tzinfo=UTC)
WANTED = Application("a" * 64, "user:alice", "simpleenroll", "printers", "dogtag", "caServerCert", "b" * 64, "CN=one")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "kipuka.toml"
    file.write_text(CONFIG.format("sqlite:///kipuka.db"))
    return file


@pytest.fixture
def store(config: Path) -> Iterator[Store]:
    """The daemon's: open all the while."""
    store = Store.open(f"sqlite:///{config.parent}/kipuka.db")
    yield store
    store.close()


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(action: str, *words: object) -> tuple[int, str, str]:
        code = cli.main(["enrollments", action, str(config), *map(str, words)])
        return (code, *capsys.readouterr())

    return run


def add(store: Store, state: State = State.RECEIVED, **differences: object) -> Enrollment:
    """A row in this state."""
    changes: Changes = {}
    for name in Changes.__annotations__.keys() & differences.keys():
        changes[name] = differences.pop(name)  # type: ignore[literal-required]
    number = sum(store.counts().values())
    row = store.join(replace(WANTED, key=f"{number:064x}", **differences), THEN)  # type: ignore[arg-type]
    return store.move(row.id, OPEN, state, THEN, **changes) or row


def numbers(out: str) -> list[int]:
    return [int(line.split()[0]) for line in out.splitlines()[1:]]


def test_list(store: Store, run: Run) -> None:
    add(store, State.PENDING, request_id="12")
    add(store, State.CLOSED)
    add(store, State.ISSUED, label=None, caller="certificate:" + "x" * 40, subject="CN=two,O=" + "y" * 60)
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"ID  STATE    CHANGED (UTC)        CA      LABEL     REQUEST  {'CALLER':<40}  SUBJECT",
        f"3   issued   2026-11-20 08:30:15  dogtag  -         -        certificate:{'x' * 25}...  CN=two,O={'y' * 60}",
        f"1   pending  2026-11-20 08:30:15  dogtag  printers  12       {'user:alice':<40}  CN=one",
    ]


def test_list_of_nothing(store: Store, run: Run) -> None:
    assert run("list") == (0, "", "There are none.\n")


def test_filters(store: Store, run: Run) -> None:
    for state in (State.PENDING, State.ISSUED, State.CLOSED):
        add(store, state)
    add(store, State.PENDING, ca_id="other", label=None, caller="certificate:CN=Bob")
    assert numbers(run("list")[1]) == [4, 2, 1]
    assert numbers(run("list", "--all")[1]) == [4, 3, 2, 1]
    assert numbers(run("list", "--state", "pending")[1]) == [4, 1]
    assert numbers(run("list", "--state", "closed", "--state", "issued")[1]) == [3, 2]
    assert numbers(run("list", "--ca", "other")[1]) == [4]
    assert numbers(run("list", "--label", "printers")[1]) == [2, 1]
    assert numbers(run("list", "--caller", "bob")[1]) == [4]
    assert numbers(run("list", "--before", 4, "--all")[1]) == [3, 2, 1]


def test_more_than_asked_for(store: Store, run: Run) -> None:
    for _ in range(3):
        add(store)
    _, out, err = run("list", "--limit", 2)
    assert (numbers(out), err) == ([3, 2], "There are more: --before 2\n")
    _, out, err = run("list", "--limit", 3)
    assert (numbers(out), err) == ([3, 2, 1], "")
    assert len(numbers(run("list", "--limit", 10**18)[1])) == 3


def test_names_from_clients_cannot_fake_a_line(store: Store, run: Run) -> None:
    add(store, caller="user:x\n9  issued", subject="CN=\x1b[2J\u2028evil", reason="no\r\nway")
    for out in (run("list")[1], run("show", 1)[1]):
        assert r"user:x\n9  issued" in out
        assert r"CN=\x1b[2J\u2028evil" in out
        assert all(line.isprintable() for line in out.split("\n"))
    assert r"no\r\nway" in run("show", 1)[1]


def test_show(store: Store, run: Run) -> None:
    certificate = pki.root("CN=one").certificate
    der = certificate.public_bytes(Encoding.DER)
    row = add(store, State.ISSUED, request_id="12", serial="0x1f", certificate=der, process="node-1/4711")
    store.move(row.id, OPEN, State.ISSUED, THEN + timedelta(hours=1), submitted=THEN, renews="0x1e", unfinished="7")
    code, out, err = run("show", row.id)
    assert (code, err) == (0, "")
    facts, _, pem = out.partition("-----BEGIN CERTIFICATE-----")
    assert facts == (
        "enrollment    1\n"
        "state         issued: issued; the client has not got the certificate yet\n"
        "to do         nothing: the client gets the certificate when it asks again\n"
        "caller        user:alice\n"
        "operation     simpleenroll\n"
        "label         printers\n"
        "subject       CN=one\n"
        f"public key    SHA-256 {'b' * 64}\n"
        "CA            dogtag\n"
        "profile       caServerCert\n"
        "request       12\n"
        "serial        0x1f\n"
        "renews        0x1e\n"
        "in progress   7\n"
        "process       node-1/4711\n"
        "created       2026-11-20 08:30:15 UTC\n"
        "submitted     2026-11-20 08:30:15 UTC\n"
        "changed       2026-11-20 09:30:15 UTC\n"
        f"key           {0:064x}\n"
    )
    assert "-----BEGIN CERTIFICATE-----" + pem == pki.pem(certificate).decode()


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(store: Store, run: Run, state: State) -> None:
    add(store, state)
    out = run("show", 1)[1]
    assert f"state         {state.value}: {MEANING[state]}\n" in out
    assert f"to do         {ADVICE[state]}\n" in out


@pytest.mark.parametrize(
    ("state", "warning"),
    [
        (State.RECEIVED, None),
        (State.SUBMITTING, r'The CA "dogtag" may hold request 12, or have issued its certificate: .* revoke the'),
        (State.UNKNOWN, r'The CA "dogtag" may hold request 12, or have issued its certificate: .* revoke the'),
        (State.PENDING, r'The CA "dogtag" still holds request 12: reject it there'),
        (State.ISSUED, r'The CA "dogtag" has issued certificate 0x1f, .*: revoke it'),
        (State.DELIVERED, None),
        (State.REJECTED, None),
    ],
)
def test_abandon(store: Store, run: Run, state: State, warning: str | None) -> None:
    before = datetime.now(UTC)
    row = add(store, state, request_id="12", serial="0x1f", delivered=THEN)
    code, out, err = run("abandon", row.id, "--yes")
    assert (code, err) == (0, "")
    said, *more = out.splitlines()
    assert said == f"Enrollment {row.id} is abandoned."
    assert [bool(re.match(warning or "$", line)) for line in more] == ([True] if warning else [])
    closed = store.get(row.id)
    assert closed is not None
    assert closed == replace(
        row,
        state=State.CLOSED,
        reason="An administrator ended the request: ask again if need be.",
        updated=closed.updated,
    )
    assert before <= closed.updated <= datetime.now(UTC)
    assert store.join(row.application, THEN).id != row.id


@pytest.mark.parametrize(("answer", "is_done"), [("y", True), ("YES", True), ("", False), ("n", False), ("yep", False)])
def test_abandon_asks(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, is_done: bool) -> None:
    row = add(store, State.PENDING, request_id="12")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    code, out, err = run("abandon", row.id)
    assert 'The CA "dogtag" still holds request 12' in out
    assert (code, err) == ((0, "") if is_done else (1, "kipuka: nothing is changed\n"))
    after = store.get(row.id)
    assert after is not None
    assert after.state is (State.CLOSED if is_done else State.PENDING)


@pytest.mark.parametrize(("sudo", "by"), [(None, "{}"), ("alice", "{} (sudo by alice)")])
def test_the_audit_says_who_abandoned_what(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch, sudo: str | None, by: str
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    if sudo is not None:
        monkeypatch.setenv("SUDO_USER", sudo)
    row = add(store, State.PENDING, request_id="12", subject='CN=one\n{"event": "forged"}')
    run("abandon", row.id, "--yes")
    (entry,) = store.audit.page()
    name = by.format(pwd.getpwuid(os.getuid()).pw_name)
    said = {key: value for key, value in entry.facts.items() if key not in ("time", "node", "hash", "previous")}
    assert said == {
        "seq": 1,
        "event": "enrollment abandoned",
        "caller": "user:alice",
        "operation": "simpleenroll",
        "label": "printers",
        "ca": "dogtag",
        "subject": row.application.subject,
        "enrollment": row.id,
        "request": "12",
        "outcome": "closed",
        "reason": ENDED,
        "cause": f"by {name} with kipuka enrollments abandon",
    }


def test_nothing_is_said_of_what_was_not_abandoned(store: Store, run: Run) -> None:
    row = add(store, State.CLOSED)
    assert run("abandon", row.id, "--yes")[0] == 1
    assert store.audit.page() == []


def test_abandon_without_a_terminal(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = add(store)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    code, _, err = run("abandon", row.id)
    assert (code, err) == (1, "kipuka: there is no terminal to ask at; give --yes to abandon it\n")
    assert store.get(row.id) == row


def test_abandon_leaves_alone_what_has_moved_on(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = add(store, State.PENDING)

    def meanwhile(_: str) -> str:
        store.move(row.id, {State.PENDING}, State.ISSUED, THEN)
        return "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", meanwhile)
    code, _, err = run("abandon", row.id)
    assert code == 1
    assert err.startswith(f"kipuka: enrollment {row.id} has changed meanwhile and is left alone; look at it again: ")
    after = store.get(row.id)
    assert after is not None
    assert after.state is State.ISSUED


def test_abandon_what_is_over(store: Store, run: Run) -> None:
    row = add(store, State.CLOSED)
    assert run("abandon", row.id, "--yes") == (1, "", f"kipuka: enrollment {row.id} is over already\n")


@pytest.mark.parametrize("action", ["show", "abandon"])
def test_no_such_number(store: Store, run: Run, action: str) -> None:
    code, _, err = run(action, 10**18)
    assert code == 1
    assert err.startswith(f"kipuka: there is no enrollment {10**18}; see kipuka enrollments list ")


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "", "9" * 20])
def test_no_number(run: Run, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("show", number)
    assert caught.value.code == 2
    assert "usage: kipuka enrollments show" in capsys.readouterr().err


def test_database_that_is_not_there_yet(config: Path, run: Run) -> None:
    code, _, err = run("list")
    assert (code, err) == (
        1,
        f"kipuka: there is no database {config.parent}/kipuka.db; the daemon makes it when it starts\n",
    )
    assert [each.name for each in config.parent.iterdir()] == ["kipuka.toml"]


def test_configuration_with_faults(config: Path, run: Run) -> None:
    config.write_text(CONFIG.format("mysql://u:hunter2@h/x") + "kep = 1\n")
    code, _, err = run("list")
    assert code == 1
    assert "db.url: expected " in err
    assert 'db.kep: unknown key "kep"; did you mean "keep"?' in err
    assert "hunter2" not in err
    assert err.count("\n") == 1


def test_in_postgresql(config: Path, run: Run) -> None:
    postgres.needed()
    with postgres.Cluster() as cluster:
        url = cluster.database()
        config.write_text(CONFIG.format(url))
        assert run("list")[0] == 1
        store = Store.open(url)
        row = add(store, State.PENDING)
        assert numbers(run("list")[1]) == [row.id]
        assert run("abandon", row.id, "--yes")[0] == 0
        assert store.counts()[State.CLOSED] == 1
        store.close()
