"""How requests and answers are written: media types, base64, lines, DER."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.web.device import enroll
from tests.web.fakes import World, basic, body
from tests.web.wire import EST

BROWSER = {"accept": "*/*", "user_agent": "curl/8.0"}


def test_enc_12_t6_media_types_are_byte_exact(world: World, request_: x509.CertificateSigningRequest) -> None:
    client = world.client()
    kinds = [
        client.get(f"{EST}/cacerts").field("Content-Type"),
        enroll(client, request_).field("Content-Type"),
        client.get(f"{EST}/p384/csrattrs").field("Content-Type"),
    ]
    assert kinds == [
        "application/pkcs7-mime",
        "application/pkcs7-mime; smime-type=certs-only",
        "application/csrattrs",
    ]


def test_enc_10_t9_every_payload_says_that_it_is_base64(world: World, request_: x509.CertificateSigningRequest) -> None:
    client = world.client()
    for answer in (client.get(f"{EST}/cacerts"), enroll(client, request_), client.get(f"{EST}/p384/csrattrs")):
        assert answer.field("Content-Transfer-Encoding") == "base64"
        assert answer.body.endswith(b"\n")
        assert not answer.body.endswith(b"\n\n")


@pytest.mark.parametrize("encoding", [None, "base64", "binary", "quoted-printable", "7bit", "nonsense"])
def test_enc_02_the_transfer_encoding_of_a_request_means_nothing(
    world: World, request_: x509.CertificateSigningRequest, encoding: str | None
) -> None:
    fields = {} if encoding is None else {"content_transfer_encoding": encoding}
    assert enroll(world.client(), request_, **fields).status == 200


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=1, */*;q=0", ""])
def test_enc_13_accept_is_no_reason_to_refuse(world: World, accept: str) -> None:
    answer = world.client().get(f"{EST}/cacerts", accept=accept)
    assert (answer.status, answer.field("Content-Type")) == (200, "application/pkcs7-mime")


@pytest.mark.parametrize(
    ("path", "fields", "longest"),
    [
        ("", {}, None),  # strongSwan: one line
        ("", {"user_agent": "x"}, 64),
        ("", {"accept": "*/*"}, 64),  # libest
        ("/one-line", BROWSER, None),
        ("/wrap76", {}, 76),
    ],
)
def test_t2_both_families_of_line_wrapping(
    world: World, path: str, fields: dict[str, str], longest: int | None
) -> None:
    text = world.client().get(f"{EST}{path}/cacerts", **fields).body
    lines = text.removesuffix(b"\n").split(b"\n")
    assert text.endswith(b"\n")
    if longest is None:
        assert len(lines) == 1
    else:
        assert {len(line) for line in lines[:-1]} == {longest}
    assert base64.b64decode(text)


@pytest.mark.parametrize(
    "content_type", ["Application/PKCS10", "application/pkcs10; charset=us-ascii", "APPLICATION/pkcs10"]
)
def test_enc_11_the_media_type_is_compared_without_case(
    world: World, request_: x509.CertificateSigningRequest, content_type: str
) -> None:
    assert enroll(world.client(), request_, content_type=content_type).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/octet-stream", None, "", "application/pkcs10x", "application/pkcs10\xff"],
)
def test_enc_11_other_media_types_are_refused(
    world: World, request_: x509.CertificateSigningRequest, content_type: str | None
) -> None:
    answer = world.client().post(
        f"{EST}/simpleenroll", body(request_), content_type=content_type, authorization=basic()
    )
    assert answer.status == 415
    assert "application/pkcs10" in answer.text


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_enc_11_forms_are_refused_by_name(world: World, content_type: str) -> None:
    answer = world.client().post(f"{EST}/simpleenroll", b"a=b", content_type=content_type)
    assert answer.status == 415  # curl --data without a type
    assert "application/pkcs10" in answer.text


def test_enc_07_answers_are_der(world: World, request_: x509.CertificateSigningRequest) -> None:
    client = world.client()
    for answer in (client.get(f"{EST}/cacerts"), enroll(client, request_), client.get(f"{EST}/p384/csrattrs")):
        _definite(base64.b64decode(answer.body))


def _definite(der: bytes) -> None:
    """Walk through every element: lengths are definite, minimal and exact."""
    while der:
        tag, first, der = der[0], der[1], der[2:]
        assert first != 0x80, "indefinite length"
        length = first
        if first > 0x80:
            width = first - 0x80
            length, der = int.from_bytes(der[:width]), der[width:]
            assert length >= 0x80, "long form for a short length"
            assert length >= 1 << (8 * (width - 1)), "leading zero in a length"
        assert len(der) >= length
        if tag & 0x20:
            _definite(der[:length])
        der = der[length:]


def test_enc_06_bytes_after_the_request_are_refused(world: World, request_: x509.CertificateSigningRequest) -> None:
    der = request_.public_bytes(Encoding.DER) + b"\0"
    answer = world.client().post(f"{EST}/simpleenroll", base64.b64encode(der), authorization=basic())
    assert answer.status == 400
    assert not world.main.requests


@pytest.mark.parametrize("form", ["der", "pem", "url-safe", "cut", "bom"])
def test_enc_01_04_05_t18_bodies_that_are_not_base64(
    world: World, request_: x509.CertificateSigningRequest, form: str
) -> None:
    der, text = request_.public_bytes(Encoding.DER), body(request_)
    bodies = {
        "der": (der, "base64 expected"),
        "pem": (request_.public_bytes(Encoding.PEM), "BEGIN and END"),
        "url-safe": (text[:40] + b"-_-_" + text[44:], "URL-safe"),
        "cut": (text.strip()[:-1], "incomplete"),
        "bom": (b"\xef\xbb\xbf" + text, "byte order mark"),
    }
    content, said = bodies[form]
    answer = world.client().post(f"{EST}/simpleenroll", content, authorization=basic())
    assert answer.status == 400
    assert said in answer.text
    assert not world.main.requests


@pytest.mark.parametrize("joint", [b"", b"\n", b"\r\n", b" \t\r\n "])
def test_enc_03_t19_t20_white_space_anywhere(
    world: World, request_: x509.CertificateSigningRequest, joint: bytes
) -> None:
    text = base64.b64encode(request_.public_bytes(Encoding.DER))
    for width in (1, 64, 76):
        lines = [text[start : start + width] for start in range(0, len(text), width)]
        content = joint + joint.join(lines) + joint * 3
        answer = world.client().post(f"{EST}/simpleenroll", content, authorization=basic())
        assert answer.status == 200
