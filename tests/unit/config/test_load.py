"""From TOML to the model: every fault at once, each with its place, in words for an operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.config.load import ConfigFaults, load, parse
from kipuka.config.model import DogtagCa, FileCa, TcpAddress
from tests.unit.config.texts import DOGTAG_CA, FILE_CA, HERE, MINIMAL, TLS, USERS, faults


def test_minimal_configuration_has_the_documented_defaults() -> None:
    config = parse(MINIMAL, HERE)
    server = config.server
    assert server.listen == (TcpAddress("0.0.0.0", 8443),)
    assert (server.workers, server.max_body_size) == (1, 65536)
    assert (server.max_connections, server.max_connections_per_address) == (4096, 256)
    assert (server.header_timeout, server.body_timeout, server.idle_timeout, server.shutdown_timeout) == (
        10,
        30,
        60,
        30,
    )
    assert config.tls.cert == Path("/etc/kipuka/tls.pem")
    assert config.tls.key == Path("/keys/tls.pem")
    assert config.tls.min_version == "1.2"
    assert (config.tls.client_auth.mode, config.tls.client_auth.trust_anchors) == ("optional", ())
    (ca,) = config.ca
    assert isinstance(ca, FileCa)
    assert (ca.type, ca.cert, ca.chain, ca.validity_days) == ("file", Path("/etc/kipuka/ca.pem"), None, 365)
    est = config.est
    assert (est.enabled, est.fullcmc, est.serverkeygen, est.csrattrs, est.retry_after) == (True, False, True, True, 30)
    assert (est.replay_window, est.cmc.max_message_size, est.cmc.allow_unsigned) == (600, 10485760, False)
    assert config.default_ca == "local"
    assert (config.db.url, config.db.keep) == ("sqlite:////etc/kipuka/kipuka.db", 90 * 86400)
    assert (config.ha.enabled, config.ha.strategy) == (False, "active-passive")


def test_dogtag_ca_has_the_documented_defaults() -> None:
    (ca,) = parse(TLS + DOGTAG_CA + USERS, HERE).ca
    assert isinstance(ca, DogtagCa)
    assert (ca.timeout, ca.cache_certificates, ca.cache_ttl, ca.max_connections, ca.api) == (30, True, 3600, 8, "auto")
    assert (ca.poll_interval, ca.approval_timeout, ca.kra_url, ca.paths) == (5, 300, None, {})


def test_label_has_the_documented_defaults() -> None:
    config = parse(MINIMAL + '[[est.label]]\nname = "lab"\nca_id = "local"\n', HERE)
    (label,) = config.est.label
    assert label.auth == ("certificate", "basic")
    assert (label.allow, label.subject_pattern, label.allowed_key_types) == (None, None, ())
    assert (label.require_san, label.proof_of_possession, label.line_wrap) == (False, "optional", "auto")


def test_every_fault_at_once_each_with_its_path() -> None:
    found = faults("""
        [server]
        max_conections = 5
        idle_timeout = "soon"
        [tls]
        cert = 5
        min_version = 1.2
        [[ca]]
        id = "a"
        [[ca]]
        id = "a"
        type = "dogtag"
        timeout = true
        agent_cret = "x"
        [[ca]]
        type = "microsoft"
        [est]
        default_ca = "b"
        fullcmc = true
        csrattrs = "yes"
        [amdin]
    """)
    assert found == [
        'server.idle_timeout: expected a duration: whole seconds, or text like "30s", "5m", "1h", "2d"; found "soon"',
        'server.max_conections: unknown key "max_conections"; did you mean "max_connections"?',
        "tls.cert: expected the path of a file, found the number 5",
        "tls.key: this key is missing and has no default",
        'tls.min_version: expected "1.2" or "1.3"; found the number 1.2',
        'ca[0].cert: this key is missing: a CA of type "file" (the default) needs it',
        'ca[0].key: this key is missing: a CA of type "file" (the default) needs it',
        'ca[1].url: this key is missing: a CA of type "dogtag" needs it',
        'ca[1].agent_cert: this key is missing: a CA of type "dogtag" needs it',
        'ca[1].agent_key: this key is missing: a CA of type "dogtag" needs it',
        'ca[1].ca_cert: this key is missing: a CA of type "dogtag" needs it',
        'ca[1].profile: this key is missing: a CA of type "dogtag" needs it',
        'ca[1].timeout: expected a duration: whole seconds, or text like "30s", "5m", "1h", "2d"; found true',
        'ca[1].agent_cret: unknown key "agent_cret"; did you mean "agent_cert"?',
        'ca[2].type: expected "dogtag" or "file" or "hsm"; found "microsoft"',
        'est.csrattrs: expected true or false, found "yes"',
        'amdin: unknown key "amdin"; did you mean "admin"?',
        'ca[1].id: "a" is already the id of ca[0]; choose another',
        'est.default_ca: there is no CA or group "b"; known are: a',
        (
            "est: nobody could authenticate: the default is certificate or basic, and neither is set up; "
            "set est.users, tls.client_auth.trust_anchors, or both"
        ),
        "est.fullcmc: not built yet: Full CMC; remove this key",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (MINIMAL + "hsm = 1\n", "est.hsm: unknown key"),
        (TLS + FILE_CA + 'agent_cert = "x"\n' + USERS, 'ca[0].agent_cert: this key belongs to a CA of type "dogtag"'),
        (
            TLS + DOGTAG_CA + "validity_days = 5\n" + USERS,
            'ca[0].validity_days: this key belongs to a CA of type "file"',
        ),
        (TLS + FILE_CA + "validity_days = 0\n" + USERS, "ca[0].validity_days: expected at least 1, found the number 0"),
        (TLS + FILE_CA + "validity_days = 40000\n" + USERS, "ca[0].validity_days: expected at most 36500"),
        (TLS + FILE_CA + "validity_days = 1.5\n" + USERS, "ca[0].validity_days: expected a whole number"),
        (TLS + FILE_CA.replace("[[ca]]", "[ca]") + USERS, "ca: expected a list of tables, each under [[ca]]"),
        ("ca = [5]\n" + TLS + USERS, "ca[0]: expected a table, found the number 5"),
        (TLS + USERS, "ca: at least one [[ca]] is needed"),
        ("ca = []\n" + TLS + USERS, "ca: at least one entry is needed"),
        ("est = 1\n" + TLS + FILE_CA, "est: expected a table, found the number 1"),
        (TLS + FILE_CA.replace('"local"', "1979-05-27") + USERS, "ca[0].id: expected a name of letters"),
        (TLS + FILE_CA.replace("local", "a/b") + USERS, "ca[0].id: expected a name of letters"),
        (MINIMAL + '"a b" = 1\n', 'est."a b": unknown key'),
    ],
)
def test_shape(text: str, fault: str) -> None:
    assert any(each.startswith(fault) for each in faults(text)), faults(text)


def test_depth_is_limited() -> None:
    assert faults("x = " + "[" * 100_000) == ["this is not a configuration: its values are nested too deeply"]


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "f" * 5000, str(2**63), str(-(2**63) - 1)])
def test_numbers_that_toml_does_not_have(number: str) -> None:
    for text in (f"[server]\nmax_connections = {number}\n", f"[[ca]]\ntype = {number}\n", f"x = [[{number}]]\n"):
        assert faults(text) == ["this is not TOML: a number in it has more than 64 bits"]
    assert "server.max_connections: expected at most 1000000, found the number 9223372036854775807" in faults(
        "[server]\nmax_connections = 0x7fffffffffffffff\n"
    )


def test_toml_syntax_names_the_line() -> None:
    (fault,) = faults("[server]\nlisten = \n")
    assert fault.startswith("this is not TOML: ")
    assert "line 2" in fault


def test_a_fault_is_one_line() -> None:
    for fault in faults(MINIMAL + '"a\\nb" = 1\ndefault_ca = "x\\ny\\u001b[2J\\u2028"\n'):
        assert fault.isprintable()


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigFaults, match=r"cannot read .*nothing\.toml: No such file"):
        load(tmp_path / "nothing.toml")
    with pytest.raises(ConfigFaults, match=r"cannot read .*: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin1.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigFaults, match="not UTF-8 text"):
        load(tmp_path / "latin1.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kipuka.toml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path.parent)
    config = load(Path(tmp_path.name) / "kipuka.toml")
    assert config.est.users == tmp_path / "users"


def test_the_configuration_cannot_be_changed() -> None:
    config = parse(MINIMAL, HERE)
    with pytest.raises(ValueError, match="frozen"):
        config.server.workers = 2  # type: ignore[misc]
