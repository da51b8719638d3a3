"""What is taken for a request, and what is refused by name."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kipuka.errors import Kind, RequestError
from kipuka.est import csr
from kipuka.est.csr import CertificationRequest
from tests.support import pki
from tests.unit.est import der
from tests.unit.est.requests import (
    ALTERNATIVE,
    CHALLENGE,
    CHANGE,
    DNS_A,
    EXTENSIONS,
    GOOD,
    MICROSOFT_EXTENSIONS,
    NAME_NEW,
    SAN_OID,
    VECTORS,
    attribute,
    change,
    encoded,
    extensions,
    made,
    refusal,
    signed,
    vector,
    with_attributes,
)

BAD = {
    "rsa-md5": (Kind.MALFORMED, "MD5"),
    "rsa-sha1": (Kind.MALFORMED, "SHA1"),
    "rsa-ripemd160": (Kind.MALFORMED, "1.3.36.3.3.1.2"),
    "rsa-1024": (Kind.FORBIDDEN, "1024 bits"),
    "rsa-exponent-3": (Kind.FORBIDDEN, "exponent"),
    "rsa-roca": (Kind.FORBIDDEN, "ROCA"),
    "dsa-2048": (Kind.FORBIDDEN, "DSA"),
    "prime192v1": (Kind.FORBIDDEN, "secp192r1"),
    "secp224r1": (Kind.FORBIDDEN, "secp224r1"),
    "secp256k1": (Kind.FORBIDDEN, "secp256k1"),
    "brainpoolp256r1": (Kind.FORBIDDEN, "brainpoolP256r1"),
    "strongswan-unsorted": (Kind.MALFORMED, "not sorted"),
}


def test_vectors_are_all_used() -> None:
    assert len(GOOD) >= 13
    assert {path.stem for path in (VECTORS / "bad").glob("*.pem")} == {*BAD, "sect283k1"}


@pytest.mark.parametrize("name", GOOD)
def test_enr_01_requests_of_real_programs(name: str) -> None:
    request = CertificationRequest.decode(vector(f"good/{name}"))
    assert request.effective_subject.rfc4514_string().startswith("CN=dev1,O=Example")
    assert request.der == vector(f"good/{name}")
    assert request.public_key_info == request.request.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert request.challenge_password == ("c2VjcmV0IHZhbHVl" if "password" in name else None)
    assert (request.alternative is not None) == (name in ("san", "java", "strongswan-san"))
    assert request.subject_change is None


@pytest.mark.parametrize("name", sorted(BAD))
def test_enr_09_weak_requests_are_refused_by_name(name: str) -> None:
    kind, words = BAD[name]
    assert words in refusal(vector(f"bad/{name}"), kind)


def test_enr_09_curves_the_library_does_not_know_are_refused() -> None:
    with pytest.raises(RequestError, match=r"P-256|named curve") as caught:
        CertificationRequest.decode(vector("bad/sect283k1"))
    assert caught.value.kind in (Kind.MALFORMED, Kind.FORBIDDEN)


@pytest.mark.parametrize("name", ["rsa-2048", "rsa-pss", "ec-p256", "ec-p521", "ed25519"])
def test_enr_01_one_flipped_signature_bit_is_refused(name: str) -> None:
    request = bytearray(vector(f"good/{name}"))
    request[-1] ^= 1
    assert "does not verify" in refusal(bytes(request))


def test_enr_01_a_signature_by_another_key_is_refused() -> None:
    info = x509.load_der_x509_csr(encoded(pki.csr(pki.ec_key(), "CN=dev1"))).tbs_certrequest_bytes
    assert "does not verify" in refusal(signed(info))


@pytest.mark.parametrize("rest", [b"\0", b"\n", made()])
def test_enc_06_bytes_after_the_request_are_refused(rest: bytes) -> None:
    assert f"followed by {len(rest)} more bytes" in refusal(made() + rest)


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\x30\x80\0\0", b"hello", made()[:-1], b"\x30" * 5000, b"\x24\x80" * 5000]
)
def test_enr_01_other_bytes_are_not_a_request(body: bytes) -> None:
    assert "not a PKCS#10" in refusal(body)


def test_enr_01_a_certificate_is_not_a_request() -> None:
    assert "not a PKCS#10" in refusal(pki.root().certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    "tag", [0x13, 0x0C, 0x16, 0x14], ids=["PrintableString", "UTF8String", "IA5String", "T61String"]
)
def test_pop_05_string_types_of_the_challenge_password(tag: int) -> None:
    request = CertificationRequest.decode(made(attributes={CHALLENGE: [der.write(tag, b"c2Vj+/8=")]}))
    assert request.challenge_password == "c2Vj+/8="


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_pop_05_one_trailing_line_end_is_tolerated(end: bytes) -> None:
    value = der.write(0x0C, b"secret" + end)
    assert CertificationRequest.decode(made(attributes={CHALLENGE: [value]})).challenge_password == "secret"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (der.write(0x1E, "secret".encode("utf-16-be")), "PrintableString"),
        (der.write(0x04, b"secret"), "PrintableString"),
        (der.write(0x02, b"\x05"), "PrintableString"),
        (der.write(0x0C, b"\xff\xfe"), "PrintableString"),
        (der.write(0x13, b"\xe9"), "PrintableString"),
        (der.write(0x0C, b"x" * 256), "256 bytes"),
    ],
)
def test_pop_05_other_challenge_passwords_are_refused(value: bytes, words: str) -> None:
    assert words in refusal(made(attributes={CHALLENGE: [value]}))


def test_pop_05_the_longest_challenge_password() -> None:
    value = der.write(0x0C, b"x" * 255)
    assert CertificationRequest.decode(made(attributes={CHALLENGE: [value]})).challenge_password == "x" * 255


def test_pop_05_a_second_challenge_password_is_refused() -> None:
    one, other = der.write(0x0C, b"one"), der.write(0x0C, b"two")
    assert "each with one value" in refusal(made(attributes={CHALLENGE: [one, other]}))
    assert "challengePassword occurs more than once" in refusal(
        with_attributes(attribute(CHALLENGE, one), attribute(CHALLENGE, other))
    )


@pytest.mark.parametrize("oid", [CHALLENGE, EXTENSIONS, CHANGE, "1.3.6.1.4.1.99999.1"])
def test_attributes_without_a_value_are_refused(oid: str) -> None:
    assert "each with one value" in refusal(with_attributes(attribute(oid)))


def test_a_request_does_not_show_its_password() -> None:
    request = CertificationRequest.decode(made(challenge_password="open-sesame"))
    assert request.challenge_password == "open-sesame"
    assert "sesame" not in repr(request) + str(request)
    assert "CN=dev1" in repr(request)


def test_a_password_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(RequestError) as caught:
        CertificationRequest.decode(made(attributes={CHALLENGE: [der.write(0x0C, b"sesame\xff")]}))
    assert "sesame" not in str(caught.value)


def test_enr_05_extensions_in_two_attributes_are_refused() -> None:
    one, other = extensions(DNS_A), extensions(der.write(0x82, b"b.example"))
    assert "extensionRequest occurs more than once" in refusal(
        with_attributes(attribute(EXTENSIONS, one), attribute(EXTENSIONS, other))
    )
    assert "into one extensionRequest" in refusal(
        with_attributes(attribute(EXTENSIONS, one), attribute(MICROSOFT_EXTENSIONS, other))
    )


def test_enr_05_an_extension_asked_for_twice_is_refused() -> None:
    alternative = der.read(extensions(DNS_A)).parts[0].encoded
    value = der.write(der.SEQUENCE, alternative, alternative)
    assert "none occurs twice" in refusal(with_attributes(attribute(EXTENSIONS, value)))


@pytest.mark.parametrize(
    "value",
    [
        der.write(der.SEQUENCE, der.write(der.SEQUENCE, SAN_OID, der.write(0x04, b"\x05\0"))),
        der.write(der.SEQUENCE, der.write(der.SEQUENCE, bytes.fromhex("0603551d0f"), der.write(0x04, b"rubbish"))),
        der.write(der.SEQUENCE, b"\x05\0"),
        der.write(0x04, b"x"),
        extensions(der.write(0x87, b"\x01\x02\x03")),
        extensions(der.write(0xA3, b"\x30\0")),
    ],
)
def test_enr_05_extensions_that_cannot_be_read_are_refused(value: bytes) -> None:
    assert "extensions asked for cannot be read" in refusal(with_attributes(attribute(EXTENSIONS, value)))


def test_enr_05_unknown_extensions_are_left_to_the_ca() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"anything")
    request = CertificationRequest.decode(made(extensions=[(unknown, True)]))
    assert request.alternative is None


def test_alternative_names_are_bounded() -> None:
    names = [der.write(0x82, f"host{number}.example".encode()) for number in range(101)]
    request = CertificationRequest.decode(with_attributes(attribute(EXTENSIONS, extensions(*names[:100]))))
    assert request.alternative is not None
    assert len(list(request.alternative)) == 100
    assert "1 to 100" in refusal(with_attributes(attribute(EXTENSIONS, extensions(*names))))
    assert "1 to 100" in refusal(with_attributes(attribute(EXTENSIONS, extensions())))


@pytest.mark.parametrize("tag", [0x81, 0x82, 0x86], ids=["email", "DNS", "URI"])
@pytest.mark.parametrize(
    "text", [b"", b" ", b"good.example\0.evil", b"a\n", b"\ta", b"a b", b"a\x7f", b"\x1b[2J", "é.example".encode()]
)
def test_enr_05_alternative_names_that_cannot_be_one_are_refused(tag: int, text: bytes) -> None:
    bad = der.write(tag, text)
    assert "plain ASCII" in refusal(with_attributes(attribute(EXTENSIONS, extensions(DNS_A, bad))))
    changed = attribute(CHANGE, change(NAME_NEW, der.write(der.SEQUENCE, bad)))
    assert "plain ASCII" in refusal(with_attributes(changed))


@pytest.mark.parametrize("tag", [0x81, 0x82, 0x86])
def test_what_is_printable_is_left_to_patterns_and_the_ca(tag: int) -> None:
    texts = [b"*.example", b"xn--bcher-kva.example", b"_sip._tcp.example", b"a@b.example", b"urn:x:%20?q#f"]
    names = [der.write(tag, text) for text in texts]
    request = CertificationRequest.decode(with_attributes(attribute(EXTENSIONS, extensions(*names))))
    assert request.alternative is not None
    assert [name.value for name in request.alternative] == [text.decode() for text in texts]


@pytest.mark.parametrize("octets", [bytes([192, 0, 2, 0, 255, 255, 255, 0]), bytes(32)])
def test_enr_05_a_range_is_no_address(octets: bytes) -> None:
    assert "range of addresses" in refusal(with_attributes(attribute(EXTENSIONS, extensions(der.write(0x87, octets)))))


def subject_of(count: int, value: bytes) -> bytes:
    part = der.write(der.SEQUENCE, bytes.fromhex("060355040b"), der.write(0x0C, value))
    return der.write(der.SEQUENCE, *[der.write(der.SET, part)] * count)


def test_subjects_are_bounded() -> None:
    assert len(list(CertificationRequest.decode(with_attributes(subject=subject_of(50, b"x"))).subject)) == 50
    assert "at most 50" in refusal(with_attributes(subject=subject_of(51, b"x")))
    CertificationRequest.decode(with_attributes(subject=subject_of(4, b"x" * 1024)))
    assert "4096 characters" in refusal(with_attributes(subject=subject_of(4, b"x" * 1025)))


@pytest.mark.parametrize("tag", [0x02, 0x30, 0x05, 0x24], ids=["INTEGER", "SEQUENCE", "NULL", "constructed string"])
def test_subject_values_of_other_types_are_refused(tag: int) -> None:
    part = der.write(der.SEQUENCE, bytes.fromhex("0603550403"), der.write(tag, b""))
    subject = der.write(der.SEQUENCE, der.write(der.SET, part))
    assert refusal(with_attributes(subject=subject))


@pytest.mark.parametrize("value", [b"USA", b"x" * 300], ids=["three letters", "long"])
def test_lengths_in_the_subject_are_left_to_the_ca(value: bytes) -> None:
    """The library warns about them; a warning must not become a refusal where warnings are errors."""
    part = der.write(der.SEQUENCE, bytes.fromhex("0603550406"), der.write(0x13, value))
    request = CertificationRequest.decode(with_attributes(subject=der.write(der.SEQUENCE, der.write(der.SET, part))))
    assert [each.value for each in request.subject] == [value.decode()]


def test_attributes_are_bounded() -> None:
    many = [attribute(f"1.3.6.1.4.1.99999.{number}", b"\x05\0") for number in range(100, 133)]
    CertificationRequest.decode(with_attributes(*many[:32]))
    assert "at most 32" in refusal(with_attributes(*many))


# ChangeSubjectName


@pytest.mark.parametrize(
    ("value", "subject", "names"),
    [
        (change(NAME_NEW), "CN=new,O=Example", None),
        (change(ALTERNATIVE), "", ["a.example"]),
        (change(NAME_NEW, ALTERNATIVE), "CN=new,O=Example", ["a.example"]),
        (change(b"\x30\0", ALTERNATIVE), "", ["a.example"]),
        (change(NAME_NEW, der.write(0xA1, DNS_A)), "CN=new,O=Example", ["a.example"]),
        (change(der.write(0xA1, DNS_A)), "", ["a.example"]),
    ],
    ids=["subject", "alternative", "both", "empty subject", "erratum 3943", "erratum 3943 alone"],
)
def test_enr_06_change_subject_name(value: bytes, subject: str, names: list[str] | None) -> None:
    request = CertificationRequest.decode(made(alternative=pki.san("old.example"), attributes={CHANGE: [value]}))
    assert request.subject.rfc4514_string() == "CN=dev1,O=Example"
    assert request.effective_subject.rfc4514_string() == subject
    alternative = request.effective_alternative
    assert (None if alternative is None else alternative.get_values_for_type(x509.DNSName)) == names


@pytest.mark.parametrize(
    "value",
    [
        change(),
        change(b"\x30\0"),
        change(ALTERNATIVE, NAME_NEW),
        change(NAME_NEW, NAME_NEW),
        change(ALTERNATIVE, ALTERNATIVE),
        change(NAME_NEW, ALTERNATIVE, ALTERNATIVE),
        change(NAME_NEW, b"\x30\0"),
        change(NAME_NEW, b"\x05\0"),
        change(b"\x04\x01x"),
        change(der.write(der.SEQUENCE, der.write(der.SET))),
        change(der.write(der.SEQUENCE, der.write(0x87, b"\x01"))),
        change(der.write(0xA1, ALTERNATIVE)),
        b"\x05\0",
        b"\x04\0",
        NAME_NEW,
    ],
)
def test_enr_06_other_values_of_change_subject_name_are_refused(value: bytes) -> None:
    assert refusal(made(attributes={CHANGE: [value]}))


def test_enr_06_an_empty_change_is_refused_with_advice() -> None:
    assert "a subject, a subjectAlt, or both" in refusal(made(attributes={CHANGE: [change()]}))
    assert "a subject, a subjectAlt, or both" in refusal(made(attributes={CHANGE: [change(b"\x30\0")]}))


def test_enr_06_changed_names_are_bounded_too() -> None:
    assert "at most 50" in refusal(made(attributes={CHANGE: [change(subject_of(51, b"x"))]}))
    names = der.write(der.SEQUENCE, *[DNS_A] * 101)
    assert "1 to 100" in refusal(made(attributes={CHANGE: [change(names)]}))


def test_limits_are_what_the_documentation_says() -> None:
    assert (csr.MAX_ATTRIBUTES, csr.MAX_SUBJECT_PARTS, csr.MAX_SUBJECT_TEXT) == (32, 50, 4096)
    assert (csr.MAX_ALTERNATIVE_NAMES, csr.MAX_CHALLENGE_PASSWORD) == (100, 255)


# Any bytes


def test_a_panic_in_the_library_is_a_refusal_and_an_interrupt_is_not() -> None:
    """cryptography 43 panics for an attribute without a value, and pyo3's class is no Exception and has no address."""

    class PanicException(BaseException):
        pass

    with pytest.raises(RequestError, match=r"^malformed: It is broken\."), csr._library("It is broken."):
        raise PanicException
    with pytest.raises(KeyboardInterrupt), csr._library("It is broken."):
        raise KeyboardInterrupt
