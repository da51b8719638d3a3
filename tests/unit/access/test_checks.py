from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from kipuka.access import checks
from kipuka.access.identity import Caller
from kipuka.errors import Kind, RequestError
from kipuka.est.csr import CertificationRequest
from tests.support import pki
from tests.unit.est import der

ROOT = pki.root()
KEY = pki.ec_key()
DEVICE = ROOT.client("CN=dev1,O=Example").certificate
CHANGE = "1.3.6.1.5.5.7.7.36"
COMMON_NAME = x509.NameOID.COMMON_NAME


def caller(user: str | None = None, certificate: x509.Certificate | None = None) -> Caller:
    return Caller(certificate, user, "192.0.2.7")


def request(subject: x509.Name | str, *names: str, key: pki.PrivateKey = KEY, **more: object) -> CertificationRequest:
    made = pki.csr(key, subject, pki.san(*names) if names else None, **more)  # type: ignore[arg-type]
    return CertificationRequest.decode(made.public_bytes(Encoding.DER))


def passes(check: checks.Check, who: Caller, wanted: CertificationRequest) -> bool:
    try:
        check(who, wanted)
    except RequestError as error:
        assert error.kind is Kind.FORBIDDEN
        assert error.text.endswith(".")
        assert error.text.isascii()
        assert error.text.isprintable()
        assert len(error.text) < 300
        return False
    return True


ANONYMOUS, ALICE, BY_CERTIFICATE = caller(), caller("alice"), caller(None, DEVICE)


@pytest.mark.parametrize(
    ("pattern", "subject", "good"),
    [
        (r"CN=dev\d+,O=Example", "CN=dev1,O=Example", True),
        (r"CN=dev\d+,O=Example", "CN=dev1,O=Example2", False),
        (r"CN=dev\d+,O=Example", "CN=x,CN=dev1,O=Example", False),
        (r"CN=dev\d+", "CN=dev1,O=Example", False),
        (r"CN=.*,O=Example", "O=Example", False),
        (r".*", "", True),
        (r"CN=[a-z]{4}", "CN=abcd", True),
    ],
)
def test_auth_12_the_whole_subject_must_match(pattern: str, subject: str, good: bool) -> None:
    assert passes(checks.subject_pattern(pattern), ANONYMOUS, request(subject)) is good


@pytest.mark.parametrize(
    ("who", "subject", "good"),
    [
        (ALICE, "CN=alice,O=Example", True),
        (ALICE, "CN=bob,O=Example", False),
        (ALICE, "CN=Alice,O=Example", False),
        (caller("a.*"), "CN=alice,O=Example", False),
        (caller("a.*"), "CN=a.*,O=Example", True),
        (caller("x|.*"), "CN=bob,O=Example", False),
        (caller("Alice, Bob+Eve"), r"CN=Alice\, Bob\+Eve,O=Example", True),
        (caller("alice,O=Example"), "CN=alice,O=Example,O=Example", False),
        (caller("x" * 200), "CN=bob,O=Example", False),
        (ANONYMOUS, "CN=alice,O=Example", False),
        (caller(""), "O=Example", False),
        (BY_CERTIFICATE, "CN=dev1,O=Example", False),
    ],
)
def test_auth_12_the_user_token_is_literal(who: Caller, subject: str, good: bool) -> None:
    assert passes(checks.subject_pattern("CN={user},O=Example"), who, request(subject)) is good


def test_auth_12_the_cn_token_is_the_certificates() -> None:
    check = checks.subject_pattern("CN={cn}(-backup)?,O=Example")
    assert passes(check, BY_CERTIFICATE, request("CN=dev1,O=Example"))
    assert passes(check, BY_CERTIFICATE, request("CN=dev1-backup,O=Example"))
    assert not passes(check, BY_CERTIFICATE, request("CN=dev2,O=Example"))
    assert not passes(check, caller("dev1"), request("CN=dev1,O=Example"))
    two_names = caller(None, ROOT.client("CN=dev1,CN=dev2").certificate)
    assert not passes(check, two_names, request("CN=dev1,O=Example"))


def test_auth_12_a_missing_token_only_spoils_its_own_branch() -> None:
    check = checks.subject_pattern("CN={user}|CN={cn}")
    assert passes(check, ALICE, request("CN=alice"))
    assert passes(check, BY_CERTIFICATE, request("CN=dev1"))
    assert not passes(check, ANONYMOUS, request("CN=alice"))


def test_auth_12_a_token_in_a_users_name_is_not_a_token() -> None:
    check = checks.subject_pattern("CN={user}")
    assert passes(check, caller("{cn}", DEVICE), request("CN={cn}"))
    assert not passes(check, caller("{cn}", DEVICE), request("CN=dev1"))


def test_enr_06_the_changed_subject_is_what_is_checked() -> None:
    change = der.write(der.SEQUENCE, pki.name("CN=new").public_bytes())
    wanted = request("CN=old", attributes={CHANGE: [change]})
    assert passes(checks.subject_pattern("CN=new"), ANONYMOUS, wanted)
    assert not passes(checks.subject_pattern("CN=old"), ANONYMOUS, wanted)


def test_err_04_a_subject_is_shown_bounded_and_escaped() -> None:
    check = checks.subject_pattern("CN=x")
    name = x509.Name([x509.NameAttribute(COMMON_NAME, "a\u2028[31m\u202eé")])
    with pytest.raises(RequestError) as caught:
        check(ANONYMOUS, request(name))
    assert r"CN=a\u2028[31m\u202e\xe9" in caught.value.text
    assert not passes(check, ANONYMOUS, request(x509.Name([x509.NameAttribute(x509.NameOID.PSEUDONYM, "é" * 1000)])))


def test_a_broken_subject_pattern_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        checks.subject_pattern("CN=(")


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=16))
def test_auth_12_the_user_token_matches_just_that_user(user: str) -> None:
    """Whatever characters a name has: escaped for the DN and for the regular expression, it is found again."""
    name = x509.Name([x509.NameAttribute(COMMON_NAME, user)])
    check = checks.subject_pattern("CN={user}")
    wanted = request(name)
    assert passes(check, caller(user), wanted)
    assert not passes(check, caller(user + "x"), wanted)
    assert re.fullmatch(re.escape(name.rfc4514_string()), wanted.effective_subject.rfc4514_string())


@pytest.mark.parametrize(
    ("names", "key", "good"),
    [
        (["ec-p256"], KEY, True),
        (["P-384", "rsa"], KEY, False),
        (["ec"], pki.ec_key(ec.SECP384R1()), True),
        (["rsa-3072"], pki.rsa_key(2048), False),
        (["rsa-2048"], pki.rsa_key(2048), True),
    ],
)
def test_enr_09_allowed_key_types(names: list[str], key: pki.PrivateKey, good: bool) -> None:
    assert passes(checks.allowed_key_types(names), ANONYMOUS, request("CN=dev1", key=key)) is good


def test_enr_09_the_refusal_names_the_key_and_what_is_allowed() -> None:
    with pytest.raises(RequestError, match=r"EC P-256 .* use ec-p384 or rsa-3072"):
        checks.allowed_key_types(["P-384", "rsa:3072"])(ANONYMOUS, request("CN=dev1"))


@pytest.mark.parametrize("names", [[], ["rsa-1024"]])
def test_wrong_key_types_are_refused_when_the_check_is_made(names: list[str]) -> None:
    with pytest.raises(ValueError, match="key type"):
        checks.allowed_key_types(names)


def test_require_san() -> None:
    check = checks.require_san()
    assert passes(check, ANONYMOUS, request("CN=dev1", "dev1.example"))
    assert not passes(check, ANONYMOUS, request("CN=dev1"))
    only_subject = der.write(der.SEQUENCE, pki.name("CN=new").public_bytes())
    assert not passes(check, ANONYMOUS, request("CN=dev1", "dev1.example", attributes={CHANGE: [only_subject]}))


@pytest.mark.parametrize(
    ("patterns", "who", "good"),
    [
        (["user:alice"], ALICE, True),
        (["user:Alice"], ALICE, False),
        (["user:al*"], ALICE, True),
        (["user:bob", "user:al?ce"], ALICE, True),
        (["certificate:CN=dev*,O=Example"], BY_CERTIFICATE, True),
        (["certificate:CN=dev2,*"], BY_CERTIFICATE, False),
        (["user:*"], BY_CERTIFICATE, False),
        (["certificate:*"], ALICE, False),
        (["user:bob", "certificate:CN=dev1,*"], caller("alice", DEVICE), True),
        (["user:*", "certificate:*"], ANONYMOUS, False),
        ([], ALICE, False),
    ],
)
def test_auth_12_allow(patterns: list[str], who: Caller, good: bool) -> None:
    assert passes(checks.allow(patterns), who, request("CN=dev1")) is good


@pytest.mark.parametrize("pattern", ["alice", "user:", "", "User:alice", "group:admins", "certificate:"])
def test_wrong_allow_patterns_are_refused_when_the_check_is_made(pattern: str) -> None:
    with pytest.raises(ValueError, match="neither user:NAME nor certificate:SUBJECT"):
        checks.allow([pattern])


def test_err_04_a_long_caller_is_shown_bounded() -> None:
    assert not passes(checks.allow(["user:bob"]), caller("é\n" * 5000), request("CN=dev1"))


@pytest.mark.parametrize(
    ("pattern", "names", "good"),
    [
        (r"DNS:[a-z]+\.example", ["a.example", "b.example"], True),
        (r"DNS:[a-z]+\.example", ["a.example", "b.example.org"], False),
        (r"DNS:[a-z]+\.example", ["192.0.2.1"], False),
        (r"DNS:[a-z]+\.example|IP:192\.0\.2\.\d+", ["a.example", "192.0.2.1"], True),
        (r"DNS:x", [], True),
        (r"DNS:{user}\.example", ["alice.example"], True),
        (r"DNS:{user}\.example", ["bob.example"], False),
        (r"DNS:{cn}\.example", ["dev1.example"], False),
    ],
)
def test_auth_12_every_alternative_name_must_match(pattern: str, names: list[str], good: bool) -> None:
    assert passes(checks.san_pattern(pattern), ALICE, request("CN=x", *names)) is good


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (x509.RFC822Name("a@b.example"), "email:a@b.example"),
        (x509.UniformResourceIdentifier("urn:x"), "URI:urn:x"),
        (x509.DirectoryName(pki.name("CN=a,O=b")), "DN:CN=a,O=b"),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "RID:1.2.3"),
        (x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01x"), "other:1.3.6.1.4.1.311.20.2.3"),
    ],
)
def test_auth_12_names_of_every_type_have_a_text(name: x509.GeneralName, text: str) -> None:
    wanted = CertificationRequest.decode(pki.csr(KEY, "CN=x", pki.san(name)).public_bytes(Encoding.DER))
    assert passes(checks.san_pattern(re.escape(text)), ALICE, wanted)
    assert not passes(checks.san_pattern(re.escape(text) + "."), ALICE, wanted)


def test_a_broken_san_pattern_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        checks.san_pattern("DNS:(")
