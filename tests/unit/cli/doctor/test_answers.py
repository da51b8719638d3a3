"""What Dogtag's answers mean, over what a real one said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.wire import Answer
from kipuka.cli.doctor import answers
from kipuka.cli.doctor.findings import Level
from tests.support import pki
from tests.support.dogtag import transcript

NOW = datetime(2026, 11, 23, 13, 11, 7, tzinfo=UTC)


def recorded(name: str, path: str, credential: str = "none", status: int | None = None) -> Answer:
    """The first JSON, HTML or empty answer of a file to that question."""
    return next(
        each.answer
        for each in transcript.read(name)
        if (each.method, each.path, each.credential) == ("GET", path, credential)
        and status in (None, each.answer.status)
        and "xml" not in each.answer.content_type
    )


def login(credential: str, release: str = "10.10.2") -> Answer:
    base = "/ca/rest" if release.startswith("10") else "/ca/v2"
    return recorded(f"{release}/05-account.txt", f"{base}/account/login", credential)


def test_version_and_api() -> None:
    about = recorded("10.10.2/02-pki-info.txt", "/pki/rest/info")
    (found,) = answers.version("ca x", about, ["/ca/rest"])
    assert str(found) == "ok      ca x: Dogtag 10.10.2; its API answers at /ca/rest"


def test_a_version_nobody_tried_is_a_warning() -> None:
    odd = Answer(200, "application/json", b'{"Version":"9.0.1"}')
    assert [each.level for each in answers.version("ca x", odd, ["/ca/rest"])] == [Level.WARNING]


def test_another_server_behind_the_url() -> None:
    page = recorded("10.10.2/02-pki-info.txt", "/pki/v2/info")
    found = list(answers.version("ca x", page, []))
    assert [each.level for each in found] == [Level.WARNING, Level.FAULT]
    assert "no CA behind this url" in found[1].text


def test_only_the_newer_api() -> None:
    about = Answer(200, "application/json", b'{"Version":"11.9.1"}')
    found = list(answers.version("ca x", about, ["/ca/v2"]))
    assert [each.level for each in found] == [Level.OK, Level.FAULT]


@pytest.mark.parametrize("release", ["10.10.2", "11.9.1"])
@pytest.mark.parametrize(
    ("credential", "level", "said"),
    [
        ("agent", Level.OK, 'the user "kipuka-agent", in "Certificate Manager Agents"'),
        ("ra", Level.WARNING, "raCertAuth profiles only"),
        ("user", Level.FAULT, "in no group of agents"),
        ("stranger", Level.FAULT, "does not know the agent certificate"),
        ("none", Level.FAULT, "does not know the agent certificate"),
    ],
)
def test_agent(release: str, credential: str, level: Level, said: str) -> None:
    found = answers.agent("ca x", login(credential, release), has_directory=True)
    assert found.level is level
    assert said in found.text
    assert bool(found.remedy) is (level is not Level.OK)


def test_nobody_is_known_while_ldap_is_down() -> None:
    """401 then says nothing about the certificate."""
    answer = recorded("10.10.2/61-ds-down.txt", "/ca/rest/account/login", "agent")
    found = answers.agent("ca x", answer, has_directory=False)
    assert found.level is Level.FAULT
    assert "directory server is down" in found.text
    assert "user-cert-add" not in found.remedy


def test_ldap_down() -> None:
    answer = recorded("10.10.2/61-ds-down.txt", "/ca/rest/certs/0x1", "agent")
    found = answers.directory("ca x", answer, pki.root().certificate)
    assert (found.level, "dirsrv" in found.remedy) == (Level.FAULT, True)
    assert found.text.startswith("its directory server is down: HTTP 500, Failed to connect LDAP server")


def test_directory() -> None:
    answer = next(each.answer for each in transcript.read("10.10.2/30-cert.txt") if each.answer.status == 200)
    certificate = wire.certificate(answer).certificate
    assert answers.directory("ca x", answer, certificate).level is Level.OK
    assert answers.directory("ca x", answer, pki.root().certificate).level is Level.WARNING
    missing = Answer(404, "application/json", b'{"Message":"Certificate ID 0x1 not found"}')
    assert answers.directory("ca x", missing, certificate).level is Level.OK
    broken = Answer(500, "text/html", b"<title>x</title>")
    assert answers.directory("ca x", broken, certificate).level is Level.FAULT


def test_search_that_finds_nothing_by_name() -> None:
    """As at a clone whose LDAP server has no substrings in its index of subjects."""
    searched = [each.answer for each in transcript.read("10.10.2/35-cert-search.txt") if each.answer.status == 200]
    assert answers.search("ca x", next(each for each in searched if wire.found(each)), "CA").level is Level.OK
    nothing = answers.search("ca x", next(each for each in searched if not wire.found(each)), "Kipuka Lab CA")
    assert nothing.level is Level.WARNING
    assert "not even that of Kipuka Lab CA" in nothing.text
    assert "reindex" in nothing.remedy
    assert answers.search("ca x", Answer(500, "text/html", b"<title>x</title>"), "CA").level is Level.WARNING
    assert answers.search("ca x", Answer(200, "application/json", b'{"entries":7}'), "CA").level is Level.FAULT


@pytest.mark.parametrize(
    ("seconds", "level", "said"),
    [
        (0, Level.OK, "agree"),
        (60, Level.OK, "agree"),
        (-61, Level.WARNING, "61 s behind"),
        (300, Level.WARNING, "300 s ahead of"),
        (301, Level.FAULT, "301 s ahead of"),
        (-86400, Level.FAULT, "86400 s behind"),
    ],
)
def test_clock(seconds: int, level: Level, said: str) -> None:
    found = answers.clock("ca x", format_datetime(NOW + timedelta(seconds=seconds), usegmt=True), NOW)
    assert (found.level, said in found.text) == (level, True)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_no_clock(date: str) -> None:
    assert answers.clock("ca x", date, NOW).level is Level.WARNING


def test_ca_certificate() -> None:
    root, other, twin = pki.root(), pki.root("CN=Other"), pki.root()
    below = root.intermediate()
    assert answers.ca_certificate("x", [root.certificate], [root.certificate]).level is Level.OK
    assert answers.ca_certificate("x", [below.certificate, root.certificate], [root.certificate]).level is Level.OK
    assert answers.ca_certificate("x", [root.certificate], [other.certificate]).level is Level.WARNING
    assert answers.ca_certificate("x", [root.certificate], [twin.certificate]).level is Level.FAULT


def test_connector() -> None:
    """Without one the CA's information is bare."""
    info = recorded("10.10.2/01-ca-info.txt", "/ca/rest/info", status=200)
    assert answers.connector("ca x kra", info, needed=True).level is Level.OK
    bare = Answer(200, "application/json", b'{"Attributes":{"Attribute":[]}}')
    assert answers.connector("ca x kra", bare, needed=True).level is Level.FAULT
    assert answers.connector("ca x kra", bare, needed=False).level is Level.WARNING


def test_transport_certificate() -> None:
    path = "/kra/rest/config/cert/transport"
    answer = recorded("10.10.2/50-kra-info.txt", path, status=200)
    found = answers.transport("ca x kra", answer, NOW)
    assert (found.level, "CN=Kipuka Lab KRA Transport" in found.text) == (Level.OK, True)
    assert answers.transport("ca x kra", answer, NOW + timedelta(days=1000)).level is Level.FAULT
    missing = recorded("10.10.2/50-kra-info.txt", "/kra/rest/systemcerts/transport")
    assert answers.transport("ca x kra", missing, NOW).level is Level.FAULT


@pytest.mark.parametrize(
    ("credential", "level", "said"),
    [
        ("agent", Level.OK, "may recover"),
        ("user", Level.FAULT, "may not recover"),
        ("stranger", Level.FAULT, "does not know"),
    ],
)
def test_recovery(credential: str, level: Level, said: str) -> None:
    answer = recorded("10.10.2/51-kra-lists.txt", "/kra/rest/agent/keys", credential)
    found = answers.recovery("ca x kra", answer, has_directory=True)
    assert (found.level, said in found.text) == (level, True)


def test_cmc() -> None:
    assert answers.cmc("x", Answer(200, "text/html", b"NegativeArraySizeException")).level is Level.OK
    assert answers.cmc("x", Answer(404, "text/html", b"")).level is Level.WARNING


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'{"Roles":3,"id":{}}'])
def test_nonsense_is_no_login(body: bytes) -> None:
    found = answers.agent("x", Answer(200, "application/json", body), has_directory=True)
    assert found.level is Level.FAULT
