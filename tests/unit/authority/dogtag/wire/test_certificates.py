"""What a look-up sends and reads, against what a real Dogtag said."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.lookup import common_name
from tests.support import pki
from tests.support.dogtag import answers as answers
from tests.unit.authority.dogtag.test_lookup import LDAP_DOWN, SEARCHES, SUBJECT, key

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
