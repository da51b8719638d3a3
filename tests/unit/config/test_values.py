"""How values are written: addresses, durations, sizes, URLs, secrets, databases."""

from __future__ import annotations

import pytest

from kipuka.config.load import parse
from kipuka.config.model import DogtagCa, FileCa, SystemdSocket, TcpAddress
from kipuka.config.model.syslog import SyslogAddress
from kipuka.config.secret import Secret
from tests.unit.config.texts import DOGTAG_CA, FILE_CA, HERE, MINIMAL, TLS, USERS, faults


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"127.0.0.1:9"', (TcpAddress("127.0.0.1", 9),)),
        ('["[::]:8443", "est.example.com:0"]', (TcpAddress("::", 8443), TcpAddress("est.example.com", 0))),
        ('["[0:0:0:0:0:0:0:1]:443"]', (TcpAddress("::1", 443),)),
        ('"systemd:est"', (SystemdSocket("est"),)),
    ],
)
def test_listen(written: str, meant: object) -> None:
    assert parse(f"[server]\nlisten = {written}\n" + MINIMAL, HERE).server.listen == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("local", SyslogAddress("local")),
        ("udp:loghost:514", SyslogAddress("udp", "loghost", 514)),
        ("tcp:[::1]:6514", SyslogAddress("tcp", "::1", 6514)),
    ],
)
def test_syslog(written: str, meant: SyslogAddress) -> None:
    syslog = parse(f'{MINIMAL}[audit]\nsyslog = "{written}"\n', HERE).audit.syslog
    assert syslog == meant
    assert str(syslog) == written


@pytest.mark.parametrize(
    "written", ["/dev/log", "local:514", "udp:loghost", "udp:loghost:0", "tcp:systemd:x", "udp::514"]
)
def test_syslog_refused(written: str) -> None:
    (fault,) = faults(f'{MINIMAL}[audit]\nsyslog = "{written}"\n')
    assert fault.startswith("audit.syslog")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('"::1:8443"', 'in brackets: "[::1]:8443"'),
        ('":8443"', "the address is missing"),
        ('"0.0.0.0"', "host:port"),
        ('"0.0.0.0:65536"', "0 to 65535"),
        ('"0.0.0.0:\u0668"', "0 to 65535"),
        ('"1.2.3.400:1"', "not an IPv4 address"),
        ('"[1.2.3.4]:1"', "not an IPv6 address"),
        ('"a b:1"', "not a host name"),
        ('"[::1]x:1"', "not a host name"),
        (f'"{"a" * 64}.example.com:1"', "not a host name"),
        ('"cä.example.com:1"', "write it in ASCII, as xn--..."),
        ('"systemd:"', "FileDescriptorName"),
        ("8443", "found the number 8443"),
        ("[]", "at least one"),
        ('["localhost:1", "localhost:1"]', "twice"),
    ],
)
def test_listen_refused(written: str, said: str) -> None:
    (fault,) = faults(f"[server]\nlisten = {written}\n" + MINIMAL)
    assert fault.startswith("server.listen")
    assert said in fault


@pytest.mark.parametrize(
    ("written", "seconds"), [("7", 7), ('"30s"', 30), ('"5m"', 300), ('"1h"', 3600), ('"2d"', 172800)]
)
def test_durations(written: str, seconds: int) -> None:
    assert parse(f"[server]\nbody_timeout = {written}\n" + MINIMAL, HERE).server.body_timeout == seconds


@pytest.mark.parametrize(
    "written", ["0", "-1", '"30"', '"1w"', '"1.5h"', "1.5", "true", '"0s"', "[]", '"99999999999d"', '"\u0665s"']
)
def test_durations_refused(written: str) -> None:
    (fault,) = faults(f"[server]\nbody_timeout = {written}\n" + MINIMAL)
    assert fault.startswith("server.body_timeout: expected a duration")


def test_what_is_kept_for_too_short_a_time_for_look_ups_is_refused() -> None:
    assert parse(MINIMAL + '[db]\nkeep = "1h"\n', HERE).db.keep == 3600
    (fault,) = faults(MINIMAL + '[db]\nkeep = "59m"\n')
    assert fault == "db.keep: expected at least 1 hour, found 3540 seconds"


@pytest.mark.parametrize(
    ("written", "size"), [("2048", 2048), ('"64KB"', 65536), ('"10MB"', 10485760), ('"2048B"', 2048)]
)
def test_sizes(written: str, size: int) -> None:
    assert parse(f"[server]\nmax_body_size = {written}\n" + MINIMAL, HERE).server.max_body_size == size


@pytest.mark.parametrize("written", ["0", "1023", '"2GB"', '"64kb"', '"64 KB"', "true", "1e6"])
def test_sizes_refused(written: str) -> None:
    (fault,) = faults(f"[server]\nmax_body_size = {written}\n" + MINIMAL)
    assert fault.startswith("server.max_body_size: expected a size")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://dogtag.example.com", "https"),
        ("dogtag.example.com:8443", "https"),
        (
            "https://dogtag.example.com:8443/ca/rest",
            'without a path such as /ca/rest: "https://dogtag.example.com:8443"',
        ),
        ("https://dogtag.example.com?x=1", "without a path"),
        ("https://dogtag.example.com:99999", "not a URL"),
        ("https://", "host name"),
        ("https://a b", "host name"),
        ("https://ca.example.com:", "no port after the colon"),
        ("https://ca.example.com:0", "port 0"),
        ("https://cä.example.com", '"cä.example.com" is not a host name: write it in ASCII, as xn--...'),
        ("https://[::1]x:8443", "not a"),  # by Python itself from 3.12 on
        ("https://ca.example.com\\\\x", "not a host name"),
        ("https://ca..com:8443", '"ca..com" is not a host name'),
        ("https://ca.example.com.", "not a host name"),
        (f"https://{'a' * 64}.com", "not a host name"),
        ("https://1.2.3:8443", '"1.2.3" is not an IPv4 address'),
        ("https://[1.2.3.4]:8443", "not a"),
        ("https://::1", "not a URL"),
        ("https://a_b:8443", '"a_b" cannot be connected to'),
    ],
)
def test_url_refused(url: str, said: str) -> None:
    (fault,) = faults(TLS + DOGTAG_CA.replace("https://dogtag.example.com:8443", url) + USERS)
    assert fault.startswith("ca[0].url: ")
    assert said in fault


@pytest.mark.parametrize(
    "url",
    [
        "https://CA.example.com",
        "https://xn--c-0fa.example.com:8443",
        "https://192.0.2.1:8443",
        "https://[2001:db8::1]",
        "https://[2001:db8::1]:8443",
        "https://[fe80::1%eth0]:8443",
    ],
)
def test_url(url: str) -> None:
    (ca,) = parse(TLS + DOGTAG_CA.replace("https://dogtag.example.com:8443", url) + USERS, HERE).ca
    assert isinstance(ca, DogtagCa)
    assert ca.url == url


def test_url_loses_its_slash() -> None:
    (ca,) = parse(TLS + DOGTAG_CA.replace(":8443", ":8443/") + USERS, HERE).ca
    assert isinstance(ca, DogtagCa)
    assert ca.url == "https://dogtag.example.com:8443"


def test_secrets_are_references() -> None:
    text = TLS + 'key_passphrase = "file:tls.pass"\n' + FILE_CA + 'key_passphrase = "env:CA_PASS"\n' + USERS
    config = parse(text, HERE)
    assert config.tls.key_passphrase == Secret("file", "/etc/kipuka/tls.pass")
    assert isinstance(config.ca[0], FileCa)
    assert config.ca[0].key_passphrase == Secret("env", "CA_PASS")


@pytest.mark.parametrize(
    "written",
    ["hunter2secret", "hunter2secret:x", "file:", "env:", "credential:../hunter2secret", "env:hunter2secret=1"],
)
def test_a_literal_secret_is_refused_and_not_printed(written: str) -> None:
    (fault,) = faults(TLS + f'key_passphrase = "{written}"\n' + FILE_CA + USERS)
    assert fault.startswith("tls.key_passphrase: a secret is not written here but named")
    assert "hunter2secret" not in fault


@pytest.mark.parametrize("written", ["271828", "271.828", '["271828"]', "{ value = 271828 }", "1828-02-07", "true"])
def test_a_literal_secret_that_is_no_text_is_not_printed_either(written: str) -> None:
    hsm = '[[ca]]\nid = "h"\ntype = "hsm"\ncert = "c"\nmodule = "m"\ntoken_label = "t"\nkey_label = "k"\npin = '
    found = faults(TLS + f"key_passphrase = {written}\n" + FILE_CA + hsm + written + "\n" + USERS)
    for key in ("tls.key_passphrase", "ca[1].pin"):
        assert f'{key}: expected "file:/path", "env:NAME" or "credential:NAME"' in found
    assert not any("828" in fault or "true" in fault for fault in found)


def test_passwords_in_urls_are_not_printed() -> None:
    text = (
        TLS
        + DOGTAG_CA.replace("https://", "https://admin:hunter2secret@")
        + USERS
        + '[db]\nurl = "my://u:hunter2secret@h"\n'
    )
    found = faults(text)
    assert [each.split(":")[0] for each in found] == ["db.url", "ca[0].url"]
    assert "hunter2secret" not in "".join(found)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite:///requests.db", "sqlite:////etc/kipuka/requests.db"),
        ("sqlite:////var/lib/kipuka/my requests.db", "sqlite:////var/lib/kipuka/my requests.db"),
        ("postgresql:///kipuka?host=/run/postgresql", "postgresql:///kipuka?host=/run/postgresql"),
        ("postgresql://u:hunter2%40secret@h/kipuka", "postgresql://u:hunter2%40secret@h/kipuka"),
    ],
)
def test_database(written: str, meant: str) -> None:
    config = parse(MINIMAL + f'[db]\nurl = "{written}"\nkeep = "1d"\n', HERE)
    assert (config.db.url, config.db.keep) == (meant, 86400)
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    "written",
    [
        '"mysql://u:hunter2secret@h/x"',
        '"postgres://u:hunter2secret@h/x"',
        '"postgresql+psycopg2://u:hunter2secret@h/x"',
        '"sqlite:///"',
        '"sqlite:///:memory:"',
        '"sqlite:///kipuka.db?mode=memory"',
        '"sqlite:kipuka.db"',
        '"postgresql://u:hunter2@secret@h/x"',
        '"postgresql://u:1/hunter2secret@h/x"',
        '"postgresql://u:hunter2\\nsecret@h/x"',
        "5",
    ],
)
def test_database_that_cannot_be(written: str) -> None:
    (fault,) = faults(MINIMAL + f"[db]\nurl = {written}\n")
    assert fault.startswith("db.url: ")
    assert "hunter2" not in fault
    assert "secret" not in fault
