"""kipuka.authority.dogtag.wire and outcome: recorded answers of 10.10.2 and 11.9.1, and bytes nobody ever sent."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import Pending
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.dogtag import transcript

JSON = "application/json"


def submissions(name: str) -> list[transcript.Exchange]:
    return [each for each in transcript.read(name) if each.method == "POST" and each.path.endswith("/certrequests")]


def result(answer: Answer) -> object:
    try:
        return outcome.submission(answer)
    except AuthorityError as error:
        return error.kind


ERRORS = [
    ("unknown profile", Kind.MISCONFIGURED),
    ("garbage CSR", Kind.INVALID),
    ("empty CSR", Kind.INVALID),
    ("unknown request type", Kind.BAD_ANSWER),
    ("weak key (RSA 512) in a manual profile", Kind.REFUSED),
    ("EC P-256 in caServerCert (keyType=RSA constraint)", Kind.REFUSED),
    ("subject without CN (constraint pattern=.*CN=.*)", Kind.REFUSED),
    ("CSR with a broken signature", Kind.INVALID),
    ("disabled profile", Kind.MISCONFIGURED),
    ("not JSON", Kind.BAD_ANSWER),
    ("empty object", Kind.MISCONFIGURED),
    ("wrong content type", Kind.MISCONFIGURED),
    ("no Accept: in which type are errors?", Kind.BAD_ANSWER),
    ("profile with auth instance AgentCertAuth, no client certificate", Kind.MISCONFIGURED),
    ("same as user", Kind.MISCONFIGURED),
    ("same as stranger", Kind.MISCONFIGURED),
    ("same as ra", Kind.MISCONFIGURED),
    ("same as kra-agent", Kind.MISCONFIGURED),
    ("directory-authenticated profile without credentials", Kind.MISCONFIGURED),
]


def test_every_recorded_error_of_a_submission_has_its_kind() -> None:
    recorded = submissions("10.10.2/13-enroll-errors.txt")
    found = [(each.comment.split(" / ")[-1], result(each.answer)) for each in recorded]
    assert found == ERRORS


def test_what_the_labs_profiles_answered() -> None:
    recorded = submissions("10.10.2/15-enroll-lab-profiles.txt")
    found = [result(each.answer) for each in recorded]
    assert found == [0x44, 0x45, 0x46, Kind.REFUSED, Pending("138")]


def test_ldap_down_is_answered_like_a_wrong_credential_and_the_cause_says_so() -> None:
    (each,) = submissions("10.10.2/61-ds-down.txt")
    with pytest.raises(AuthorityError) as caught:
        outcome.submission(each.answer)
    assert caught.value.kind is Kind.MISCONFIGURED
    assert "LDAP" in caught.value.cause


def test_11_names_requests_and_certificates_by_128_bit_ids() -> None:
    recorded = {each.comment.split(" / ")[-1]: each.answer for each in submissions("11.9.1/36-old-paths.txt")}
    # The last two parts of the file ask /ca/v1 what the first asked /ca/rest.
    assert result(recorded["pending"]) == Pending("137413872935163855366475737692473613772")
    assert result(recorded["immediate"]) == 0xE6890F70BBEB75AB6EEA67338CEF83A3
    assert result(recorded["unknown profile"]) is Kind.MISCONFIGURED
    assert result(recorded["garbage CSR"]) is Kind.INVALID


def test_the_last_part_of_a_request_url_is_the_id_even_where_11_gets_the_url_wrong() -> None:
    for each in submissions("11.9.1/36-old-paths.txt"):
        if each.answer.status != 200 or not each.answer.is_json:
            continue
        with_id = wire.submitted(each.answer)
        body = json.loads(each.answer.body)
        for name in ("requestID", "requestId"):
            del body["entries"][0][name]
        assert wire.submitted(Answer(200, JSON, json.dumps(body).encode())) == with_id


@pytest.mark.parametrize(
    ("file", "path"), [("10.10.2/04-ca-chain.txt", "/ca/rest"), ("11.9.1/04-ca-chain.txt", "/ca/rest")]
)
def test_the_chain_of_a_recorded_ca(file: str, path: str) -> None:
    answers = [each.answer for each in transcript.read(file) if each.path == path + "/config/cert/signing"]
    (chain,) = [wire.chain(answer) for answer in answers]
    assert [each.subject.rfc4514_string() for each in chain] == ["CN=Kipuka Lab CA,O=KIPUKA-LAB"]


def test_recorded_certificates_are_read_by_hexadecimal_and_decimal_number() -> None:
    answers = [each.answer for each in transcript.read("10.10.2/30-cert.txt") if each.path.endswith(("0x1b", "/27"))]
    records = [wire.certificate(answer) for answer in answers if answer.is_json]
    assert [(each.certificate.serial_number, each.status) for each in records] == [(0x1B, "VALID"), (0x1B, "VALID")]


def test_recorded_templates_are_read() -> None:
    recorded = transcript.read("10.10.2/07-enroll-template.txt")
    forms = {each.path.rpartition("/")[2]: each.answer for each in recorded if "/profiles/" in each.path}
    server = wire.template(
        next(each.answer for each in recorded if each.path.endswith("/caServerCert") and each.answer.is_json)
    )
    assert server.profile == "caServerCert"
    assert {"cert_request_type", "cert_request", "requestor_name"} < server.fields
    assert "sn_ou3" in wire.template(forms["caUserCert"]).fields
    assert outcome.no_template(forms["nosuch"]).kind is Kind.MISCONFIGURED


def test_the_template_is_filled_by_name_and_nothing_is_added_to_it() -> None:
    form = wire.Template("p", (wire.Input("i1", "c", "n", ("cert_request",)), wire.Input("i2", "d", "m", ("other",))))
    body = json.loads(wire.enrollment_body(form, {"cert_request": "MII=", "requestor_name": "nobody asked"}))
    assert body == {
        "ProfileID": "p",
        "Renewal": False,
        "Input": [
            {"id": "i1", "ClassID": "c", "Name": "n", "Attribute": [{"name": "cert_request", "Value": "MII="}]},
            {"id": "i2", "ClassID": "d", "Name": "m", "Attribute": [{"name": "other", "Value": ""}]},
        ],
    }


def test_the_subject_form_takes_what_it_has_a_place_for() -> None:
    fields = wire.subject_fields(pki.name("CN=Ann,OU=two,OU=one,O=Org,C=DE,L=nowhere to put,UID=ann"))
    assert fields == {"sn_cn": "Ann", "sn_ou": "one", "sn_ou1": "two", "sn_o": "Org", "sn_c": "DE", "sn_uid": "ann"}


@pytest.mark.parametrize(
    ("text", "number"), [("16", 16), ("0x10", 16), ("0X1b", 27), ("0x0080", 128), ("0" * 5 + "7", 7)]
)
def test_ids_are_read_in_both_notations(text: str, number: int) -> None:
    assert wire.parse_id(text) == number


@pytest.mark.parametrize("value", ["", "1b", "0x", "-1", "+1", " 1", "1 ", "0x1g", "1_0", "\uff11", "9" * 99, None, 16])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(AuthorityError) as caught:
        wire.parse_id(value)
    assert caught.value.kind is Kind.BAD_ANSWER


def entry(**members: object) -> Answer:
    whole = {"requestStatus": "pending", "requestURL": "https://x/1", "operationResult": "success"} | members
    return Answer(200, JSON, json.dumps({"total": 1, "entries": [whole]}).encode())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (entry(), Pending("1")),
        (entry(requestStatus="approved"), Pending("1")),
        (entry(requestStatus="svc_pending"), Pending("1")),
        (entry(errorMessage="Request 1 - Server Internal Error"), Kind.BAD_ANSWER),
        (entry(requestStatus="begin"), Kind.BAD_ANSWER),
        (entry(operationResult="error"), Kind.BAD_ANSWER),
        (entry(requestURL=None), Kind.BAD_ANSWER),
        (entry(requestStatus="nova"), Kind.BAD_ANSWER),
        (entry(requestStatus="complete"), Kind.BAD_ANSWER),
        (entry(requestStatus="complete", certId="0x7"), 7),
        (entry(requestStatus="rejected"), Kind.REFUSED),
        (entry(requestStatus="canceled"), Kind.REFUSED),
        (Answer(200, JSON, b'{"entries":[]}'), Kind.BAD_ANSWER),
        (Answer(200, "text/html", b"<html>fine</html>"), Kind.BAD_ANSWER),
        (Answer(302, "", b""), Kind.MISCONFIGURED),
        (Answer(403, "", b""), Kind.MISCONFIGURED),
        (Answer(404, "text/html", b"<title>Not Found</title>"), Kind.UNREACHABLE),
        (Answer(405, "", b""), Kind.UNREACHABLE),
        (Answer(404, JSON, b'{"Message":"no such sub-CA"}'), Kind.BAD_ANSWER),
        (Answer(409, JSON, b'{"Message":"CA not enabled"}'), Kind.MISCONFIGURED),
        (Answer(500, "text/html", b"CS server is not ready to serve."), Kind.UNREACHABLE),
        (Answer(500, "text/html", b"<title>java.lang.NullPointerException</title>"), Kind.BAD_ANSWER),
        (Answer(502, "text/html", b"proxy"), Kind.NO_ANSWER),
        (Answer(503, "text/html", b"proxy"), Kind.NO_ANSWER),
        (Answer(503, "text/html", b"CS server is not ready to serve."), Kind.UNREACHABLE),
        (Answer(504, "text/html", b"proxy"), Kind.NO_ANSWER),
    ],
)
def test_outcomes(answer: Answer, expected: object) -> None:
    assert result(answer) == expected


def test_a_refusal_shows_the_cas_reason_bounded_and_printable() -> None:
    with pytest.raises(AuthorityError) as caught:
        outcome.submission(entry(requestStatus="rejected", errorMessage="bad\r\nkey\x00\x1b[31m" + "x" * 5000))
    assert "bad key" in caught.value.text
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 400


def test_content_type_is_looked_at_before_parsing() -> None:
    html_that_reads_as_json = Answer(200, "text/html", entry().body)
    assert result(html_that_reads_as_json) is Kind.BAD_ANSWER
    assert result(Answer(200, "Application/JSON; charset=UTF-8", entry().body)) == Pending("1")


def test_a_chain_longer_than_any_real_one_ends() -> None:
    issuer = pki.root()
    others = [issuer.certificate]
    for number in range(20):
        issuer = issuer.intermediate(f"CN=CA {number}")
        others.append(issuer.certificate)
    assert len(wire.in_order(issuer.certificate, others)) == 16


def test_a_chain_is_put_in_order_and_strangers_left_out() -> None:
    root = pki.root()
    middle = root.intermediate("CN=Middle")
    leaf = middle.intermediate("CN=Leaf")
    stranger = pki.root("CN=Middle").certificate  # the right name, the wrong key
    bag = [root.certificate, stranger, leaf.certificate, middle.certificate]
    assert wire.in_order(leaf.certificate, bag) == (leaf.certificate, middle.certificate, root.certificate)


READERS = [wire.submitted, wire.certificate, wire.chain, wire.template, outcome.submission]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                _MEMBERS := [
                    "entries",
                    "requestStatus",
                    "requestURL",
                    "requestID",
                    "certId",
                    "errorMessage",
                    "operationResult",
                    "Encoded",
                    "PKCS7CertChain",
                    "Status",
                    "ProfileID",
                    "Input",
                    "Attribute",
                    "name",
                    "id",
                    "Message",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(st.sampled_from(READERS), JSON_VALUES, st.sampled_from([200, 400, 404, 500]))
def test_any_json_is_a_value_or_an_authority_error(reader: object, value: object, status: int) -> None:
    answer = Answer(status, JSON, json.dumps(value).encode())
    try:
        reader(answer)  # type: ignore[operator]
    except AuthorityError as error:
        assert error.text.isprintable()
        assert len(error.cause) < 2000


@given(st.sampled_from(READERS), st.binary(max_size=200), st.sampled_from([JSON, "text/html", ""]))
def test_any_bytes_are_an_authority_error(reader: object, body: bytes, content_type: str) -> None:
    with pytest.raises(AuthorityError):
        reader(Answer(200, content_type, body))  # type: ignore[operator]


def test_json_nested_beyond_reason_is_an_authority_error() -> None:
    assert result(Answer(200, JSON, b"[" * 100_000)) is Kind.BAD_ANSWER
    assert result(Answer(200, JSON, b'{"entries":[{"certId":' + b"9" * 10_000 + b"}]}")) is Kind.BAD_ANSWER


@given(st.text(max_size=2000))
def test_printable_is_one_bounded_line(text: str) -> None:
    line = wire.printable(text)
    assert line.isprintable()
    assert len(line) <= 200


@given(st.integers(min_value=0, max_value=2**160 - 1))
def test_ids_round_trip(number: int) -> None:
    assert wire.parse_id(str(number)) == wire.parse_id(hex(number)) == number
    assert set(str(number)) <= set(string.digits)
