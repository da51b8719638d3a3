"""Who may call what, and what is said to those who may not."""

from __future__ import annotations

import base64
import re

import pytest
from twisted.internet.defer import Deferred

from kipuka.access.credentials.users import LONGEST, Users, check_password, hash_password, wrong_credentials
from kipuka.web.est.authentication import CONCURRENT, WAITING, Passwords, basic_credentials
from tests.support import pki
from tests.web.fakes import ALICE, World, basic, body
from tests.web.wire import EST, Answer, message

ENROLLMENTS = ("simpleenroll", "simplereenroll")
CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))


def without_reference(answer: Answer) -> tuple[object, ...]:
    """An answer apart from the reference in its text and the date."""
    fields = tuple((name, value) for name, value in answer.fields if name != "Date")
    return answer.status, fields, re.sub(rb"reference [0-9a-f]{8}", b"reference", answer.body)


@pytest.mark.parametrize("label", ["", "/mtls", "/both", "/linked"])
def test_auth_01_02_t12_anybody_may_have_the_ca_certificates_and_the_attributes(world: World, label: str) -> None:
    client = world.client()
    assert client.get(f"{EST}{label}/cacerts").status == 200
    assert client.get(f"{EST}{label}/csrattrs").status in {200, 204}
    assert client.get(f"{EST}{label}/cacerts", authorization="Basic !!!").status == 200


@pytest.mark.parametrize("operation", ENROLLMENTS)
def test_auth_03_04_t7_the_first_try_is_answered_with_the_way_in(world: World, operation: str) -> None:
    answer = world.client().post(f"{EST}/{operation}", CSR)
    assert answer.status == 401
    challenge = answer.field("WWW-Authenticate")
    assert challenge is not None
    assert challenge.startswith('Basic realm="')
    assert [name for name, _ in answer.fields].index("WWW-Authenticate") == 2
    assert not world.main.requests
    assert world.audited[-1][0] == "refusal"


@pytest.mark.parametrize("operation", ENROLLMENTS)
def test_auth_15_a_bad_request_from_nobody_is_401(world: World, operation: str) -> None:
    client = world.client()
    for content, kind in ((b"broken", "application/pkcs10"), (b"", "text/html")):
        assert client.post(f"{EST}/{operation}", content, content_type=kind).status == 401


def test_auth_15_authentication_media_type_body_linking_authorization(world: World) -> None:
    stranger = pki.csr(pki.ec_key(), "CN=a", challenge_password="wrong")
    client = world.client()
    path = f"{EST}/p384/simpleenroll"
    assert client.post(path, b"broken", content_type="a/b", authorization=basic()).status == 415
    assert client.post(path, b"broken", authorization=basic()).status == 400
    assert "challengePassword" in client.post(path, body(stranger), authorization=basic()).text
    assert "ec-p384" in client.post(path, CSR, authorization=basic()).text


def test_auth_05_a_certificate_is_enough(world: World) -> None:
    client = world.client(world.device().certificate)
    for label in ("", "/mtls"):
        assert client.post(f"{EST}{label}/simpleenroll", CSR).status == 200
    assert not world.users.checked


@pytest.mark.parametrize(
    ("label", "certificate", "password", "status"),
    [
        ("", False, True, 200),
        ("", True, True, 200),
        ("/mtls", False, False, 403),
        ("/mtls", False, True, 403),
        ("/mtls", True, False, 200),
        ("/password", True, False, 401),
        ("/password", False, True, 200),
        ("/both", False, False, 401),
        ("/both", True, False, 401),
        ("/both", False, True, 403),
        ("/both", True, True, 200),
    ],
)
def test_auth_06_either_or_both(world: World, label: str, certificate: bool, password: bool, status: int) -> None:
    client = world.client(world.device().certificate if certificate else None)
    fields = {"authorization": basic()} if password else {}
    answer = client.post(f"{EST}{label}/simpleenroll", CSR, **fields)
    assert answer.status == status
    assert (answer.field("WWW-Authenticate") is not None) == (status == 401)
    assert len(world.main.requests) == (status == 200)


def test_a_label_without_passwords_does_not_look_at_them(world: World) -> None:
    client = world.client(world.device().certificate)
    assert client.post(f"{EST}/mtls/simpleenroll", CSR, authorization=basic("alice", "wrong")).status == 200
    assert not world.users.checked


def test_a_wrong_password_beside_a_good_certificate_is_refused(world: World) -> None:
    client = world.client(world.device().certificate)
    assert client.post(f"{EST}/simpleenroll", CSR, authorization=basic("alice", "wrong")).status == 401


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_scheme_is_compared_without_case(world: World, scheme: str) -> None:
    value = basic().replace("Basic", scheme)
    assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=value).status == 200


@pytest.mark.parametrize("value", ["Bearer abc", "Digest username=x", "Negotiate YII=", "Basic", ""])
def test_other_schemes_are_asked_for_basic(world: World, value: str) -> None:
    answer = world.client().post(f"{EST}/simpleenroll", CSR, authorization=value)
    assert answer.status == 401
    assert answer.field("WWW-Authenticate")


def test_auth_07_an_empty_user_name(world: World) -> None:
    assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic("", "nobody's")).status == 200
    assert world.main.requests[0].requestor == "user:"


@pytest.mark.parametrize(
    ("name", "password"), [("u", "p:q"), ("u", ":"), ("u", ""), ("jürgen", "пароль €"), ("", ":::"), ("a b", " p ")]
)
def test_auth_08_colons_and_utf_8(world: World, name: str, password: str) -> None:
    world.users.passwords = {name: password}
    assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic(name, password)).status == 200
    assert world.users.checked == [(name, password)]


@pytest.mark.parametrize("name", ["alice", "", "jürgen"])
def test_the_longest_password_that_can_be_set_can_be_used(world: World, name: str) -> None:
    password = "x" * (LONGEST - len(name.encode()) - 1)
    check_password(name, password)
    with pytest.raises(ValueError, match="longer than 767 bytes"):
        check_password(name, password + "x")
    world.users.passwords = {name: password, f"{name}x": password}
    assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic(name, password)).status == 200
    checked = len(world.users.checked)
    assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic(f"{name}x", password)).status == 401
    assert len(world.users.checked) == checked  # refused unseen


@pytest.mark.parametrize(
    "value",
    [
        basic("alice", "wrong"),
        basic("mallory", ALICE[1]),
        basic("", ""),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic not base64!",
        "Basic YWxpY2U6",
        "Basic YWxpY2",
        "Basic " + "QUFB" * 1000,
        "Basic",
        "Basic  ",
    ],
)
def test_auth_09_all_wrong_credentials_look_the_same(world: World, value: str) -> None:
    known = world.client().post(f"{EST}/simpleenroll", CSR, authorization=basic("alice", "wronG"))
    answer = world.client().post(f"{EST}/simpleenroll", CSR, authorization=value)
    if value.strip() == "Basic":  # nothing shown, so nothing can be wrong
        assert answer.status == 401
        return
    assert without_reference(answer) == without_reference(known)
    assert not world.main.requests


def test_auth_09_the_same_work_for_an_unknown_user() -> None:
    users = Users.parse(f"alice:{hash_password('secret')}\n")
    checked: list[str] = []
    import kipuka.access.credentials.users as module

    original = module._matches

    def counting(hashed: str, password: bytes) -> bool:
        checked.append(hashed)
        return original(hashed, password)

    module._matches = counting
    try:
        for name in ("alice", "mallory"):
            with pytest.raises(Exception, match="wrong"):
                users.verify(name, "wrong")
    finally:
        module._matches = original
    assert len(checked) == 2
    assert checked[0] == checked[1]


def test_passwords_are_checked_a_few_at_a_time_and_a_crowd_is_sent_away(world: World) -> None:
    started: list[Deferred[None]] = []

    def in_thread(_: object) -> Deferred[None]:
        started.append(Deferred())
        return started[-1]

    world.operations.gate._passwords = Passwords(world.users, in_thread)
    clients = [world.client() for _ in range(CONCURRENT + WAITING + 1)]
    for client in clients:
        client.send(
            message("POST", f"{EST}/simpleenroll", CSR, content_type="application/pkcs10", authorization=basic())
        )
    assert len(started) == CONCURRENT
    (sent_away,) = clients[-1].answers()
    assert sent_away.status == 503
    assert sent_away.field("Retry-After")
    while started:
        started.pop().callback(None)
    assert all(client.answers()[0].status == 200 for client in clients[:-1])


@pytest.mark.parametrize("right", [True, False])
def test_a_client_that_goes_away_during_the_check_of_its_password_gets_no_certificate(
    world: World, right: bool
) -> None:
    checking: Deferred[None] = Deferred()
    world.operations.gate._passwords = Passwords(world.users, lambda _: checking)
    client = world.client()
    client.send(message("POST", f"{EST}/simpleenroll", CSR, content_type="application/pkcs10", authorization=basic()))
    client.hang_up()
    if right:
        checking.callback(None)
    else:
        checking.errback(wrong_credentials())
    assert not world.main.requests
    assert world.audited[-1][0] == "client gone"


def test_a_wrong_password_is_an_event_of_its_own(world: World) -> None:
    for authorization in (basic(password="wrong"), "Basic !!!"):
        assert world.client().post(f"{EST}/simpleenroll", CSR, authorization=authorization).status == 401
        event, facts = world.audited[-1]
        assert (event, facts["kind"], facts["caller"]) == ("password refused", "unauthenticated", None)
        assert "alice" not in str(facts)


def test_the_audit_has_the_tls_facts(world: World) -> None:
    certificate = world.device().certificate
    assert world.client(certificate).post(f"{EST}/simpleenroll", b"%").status == 400
    facts = world.audited[-1][1]
    assert (facts["tls"], facts["cipher"]) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    assert (facts["certificate"], facts["certificate_serial"]) == ("CN=device-1", f"0x{certificate.serial_number:x}")
    assert facts["certificate_issuer"] == "CN=CA main"


def test_tls_06_the_audit_tells_the_same_subject_of_two_cas_apart(world: World) -> None:
    issuers = []
    for issuer in (world.main.issuer, pki.root("CN=Maker")):
        assert world.client(issuer.client("CN=device-1").certificate).post(f"{EST}/simpleenroll", CSR).status == 200
        event, facts = world.audited[-1]
        assert (event, facts["caller"]) == ("enrollment", "certificate:CN=device-1")
        issuers.append(facts["certificate_issuer"])
    assert issuers == ["CN=CA main", "CN=Maker"]


@pytest.mark.parametrize("operation", ENROLLMENTS)
def test_tls_06_a_label_takes_certificates_of_its_own_trust_anchors_only(world: World, operation: str) -> None:
    maker, path = pki.root("CN=Maker"), f"{EST}/own/{operation}"
    stranger = world.client(maker.client("CN=device-1").certificate, issuer=maker)
    assert stranger.post(path, CSR).status == 401  # as if there were no certificate
    assert not world.main.requests
    device = world.client(world.device().certificate, issuer=world.main.issuer)
    assert device.post(path, CSR).status == 200


def test_tls_06_names_of_a_certificate_that_does_not_count_bind_nothing(world: World) -> None:
    """Beside a good password it is as if it was not shown: its common name is what its CA chose to write."""
    maker, path = pki.root("CN=Maker"), f"{EST}/own/simpleenroll"
    both = world.client(maker.client("CN=device-1").certificate, issuer=maker)
    assert both.post(path, CSR, authorization=basic()).status == 403
    own = body(pki.csr(pki.ec_key(), "CN=alice"))
    assert both.post(path, own, authorization=basic()).status == 200
    _, facts = world.audited[-1]
    assert (facts["caller"], facts["certificate_issuer"]) == ("user:alice", "CN=Maker")
    assert world.main.requests[0].requestor == "user:alice"


def test_tls_06_a_certificate_directly_trusted_or_without_a_path_does_not_count(world: World) -> None:
    for certificate in (world.main.issuer.certificate, world.device().certificate):
        assert world.client(certificate).post(f"{EST}/own/simpleenroll", CSR).status == 401


def test_auth_16_identities_in_headers_are_not_believed(world: World) -> None:
    pem = pki.pem(world.device().certificate).decode().replace("\n", "")
    fields = {
        "client_cert": f":{pem}:",
        "x_ssl_client_cert": pem,
        "x_forwarded_for": "127.0.0.1",
        "x_remote_user": "alice",
    }
    assert world.client().post(f"{EST}/simpleenroll", CSR, **fields).status == 401
    assert world.audited[-1][1]["address"] == "192.0.2.7"


@pytest.mark.parametrize("operation", ENROLLMENTS)
def test_auth_13_cmc_ra_in_a_client_certificate_gives_no_rights(world: World, operation: str) -> None:
    cmc_ra = pki.x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
    maker = pki.root("CN=Maker").client("CN=ra", usages=[pki.ExtendedKeyUsageOID.CLIENT_AUTH, cmc_ra])
    linked = body(pki.csr(pki.ec_key(), "CN=other", challenge_password=base64.b64encode(b"x" * 32).decode()))
    answer = world.client(maker.certificate).post(f"{EST}/{operation}", linked)
    assert answer.status == 403
    assert not world.main.requests


def test_credentials_are_read_by_one_function_only() -> None:
    class Request:
        def getHeader(self, name: bytes) -> bytes:
            assert name == b"authorization"
            return basic("a", "b:c").encode()

    assert basic_credentials(Request()) == ("a", "b:c")  # type: ignore[arg-type]
