"""What a look-up sends and reads, against what a real Dogtag said."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.lookup import common_name
from kipuka.authority.dogtag.wire import Answer
from kipuka.errors import AuthorityError, Kind
from kipuka.est.der import SEQUENCE, parts, wrap
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.support.dogtag import transcript
from tests.unit.authority.dogtag.lookup.lost import LDAP_DOWN, SUBJECT, key, of_version

SEARCHES = transcript.read("10.10.2/35-cert-search.txt")

# --- the wire


def test_requests_left_in_begin_as_recorded() -> None:
    listed, review = LDAP_DOWN[4].answer, LDAP_DOWN[6].answer
    assert 2702 in wire.listed(listed)
    seen = wire.review(review)
    assert (seen.status, seen.notes) == ("begin", "")
    fields = json.loads(review.body)["Input"][0]["Attribute"]
    csr = x509.load_pem_x509_csr(
        f"-----BEGIN CERTIFICATE REQUEST-----\n{fields[1]['Value']}\n-----END CERTIFICATE REQUEST-----\n".encode()
    )
    assert seen.public_key == key(csr)


def test_a_csr_is_read_as_pem_too() -> None:
    csr = pki.csr(pki.ec_key(), SUBJECT)
    review = answers.review(answers.request(7, "pending"), csr, None)
    value = review["Input"][0]["Attribute"][1]
    pem = f"-----BEGIN NEW CERTIFICATE REQUEST-----\r\n{value['Value'][:64]}\r\n{value['Value'][64:]}\r\n-----END-----"
    value["Value"] = pem
    assert wire.review(answers.success(review)).public_key == key(csr)


def test_a_csr_of_an_unknown_version_has_no_key() -> None:
    csr = pki.csr(pki.ec_key(), SUBJECT)
    review = answers.review(answers.request(7, "pending"), csr, None)
    der = csr.public_bytes(Encoding.DER).replace(b"\x02\x01\x00", b"\x02\x01\x07", 1)
    review["Input"][0]["Attribute"][1]["Value"] = base64.b64encode(der).decode()
    assert wire.review(answers.success(review)).public_key is None


def record(pem: str) -> Answer:
    ca = pki.root().certificate
    return answers.success(answers.certificate(ca, ca, revoked=False) | {"Encoded": pem})


@pytest.mark.parametrize("version", [2, 9])
def test_the_key_of_a_certificate_is_read_though_cryptography_may_not_load_it(version: int) -> None:
    for ca in (pki.root().certificate, pki.root(key=pki.rsa_key()).certificate):
        assert wire.certified_key(record(of_version(ca, version))) == key(ca)


def test_the_key_of_a_certificate_without_a_version_is_read() -> None:
    ca = pki.root().certificate
    version_1 = parts(parts(ca.public_bytes(Encoding.DER), SEQUENCE, 3)[0], SEQUENCE, 10)[1:7]
    version_1[3] = wrap(SEQUENCE)  # no dates at all
    pem = base64.b64encode(wrap(SEQUENCE, wrap(SEQUENCE, *version_1), b"\x05\x00", b"\x05\x00")).decode()
    assert wire.certified_key(record(f"-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n")) == key(ca)


def test_a_certificate_with_a_key_of_an_unknown_kind_has_none() -> None:
    ca = pki.root().certificate
    info = ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    der = ca.public_bytes(Encoding.DER).replace(info, info.replace(b"\x06\x07\x2a", b"\x06\x07\x2b"))
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    assert wire.certified_key(record(pem)) is None
    assert wire.certified_key(record(of_version(x509.load_pem_x509_certificate(pem.encode()), 9))) is None


@pytest.mark.parametrize(
    "text", ["MIIB", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "%", "\u00e4"]
)
def test_what_is_no_certificate_has_no_key_and_is_no_answer(text: str) -> None:
    with pytest.raises(AuthorityError) as caught:
        wire.certified_key(record(text))
    assert caught.value.kind is Kind.BAD_ANSWER


def test_searches_as_recorded() -> None:
    by_name, inclusive, later, page = SEARCHES
    both = wire.found(by_name.answer)
    assert len(both) == 2
    assert sorted(both) == list(both)
    assert wire.found(inclusive.answer)[-1] == both[-1]
    assert wire.found(later.answer) == ()
    assert wire.found(page.answer) == (both[1],)
    since = int(json.loads(inclusive.body)["issuedOnFrom"])
    assert json.loads(wire.search_body(since, "search \\ (1)*\u2603")) == json.loads(inclusive.body)


def test_an_empty_name_is_not_searched_for() -> None:
    """Dogtag would match it with every certificate."""
    assert "subjectInUse" not in json.loads(wire.search_body(0, ""))


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=device", "device"),
        ("O=x,CN=a\\, b\\+c", "a, b+c"),
        ("CN=\\ spaced \\ ", "spaced"),
        ("CN=one,CN=two", "two"),
        ("O=none", None),
        ("CN=\\ ", None),
        ("", None),
        ("<broken>", None),
    ],
)
def test_the_common_name_looked_for(subject: str, name: str | None) -> None:
    assert common_name(subject) == name


@given(st.text(min_size=1, max_size=64).filter(lambda text: text.strip()))
def test_any_common_name_survives_rfc_4514(text: str) -> None:
    try:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]).rfc4514_string()
    except ValueError:
        return
    assert common_name(subject) in (text.strip(), None)
