"""Which values an attribute of a name may have: in the subject, the new subject, and among the alternative names."""

from __future__ import annotations

import pytest

from kipuka.est.csr import CertificationRequest
from tests.unit.est import der
from tests.unit.est.requests import (
    CHANGE,
    DNS_A,
    EXTENSIONS,
    NAME_NEW,
    attribute,
    change,
    extensions,
    refusal,
    with_attributes,
)

COMMON_NAME, COUNTRY, SERIAL_NUMBER, UNIQUE_ID = "0603550403", "0603550406", "0603550405", "060355042d"
EMAIL, DOMAIN_COMPONENT = "06092a864886f70d010901", "060a0992268993f22c640119"


def name_of(tag: int, value: bytes, oid: str = COMMON_NAME) -> bytes:
    """A name with one attribute after a good one."""
    good, part = (
        der.write(der.SET, der.write(der.SEQUENCE, bytes.fromhex(attribute_type), der.write(its_tag, octets)))
        for attribute_type, its_tag, octets in ((COMMON_NAME, 0x0C, b"dev1"), (oid, tag, value))
    )
    return der.write(der.SEQUENCE, good, part)


def refused_as_any_name(name: bytes) -> str:
    """The one sentence, whether a name is the subject, the new subject, or one of the alternative ones."""
    directory_name = der.write(der.SEQUENCE, DNS_A, der.write(0xA4, name))
    texts = {
        refusal(with_attributes(subject=name)),
        refusal(with_attributes(attribute(CHANGE, change(name)))),
        refusal(with_attributes(attribute(EXTENSIONS, extensions(der.write(0xA4, name))))),
        refusal(with_attributes(attribute(CHANGE, change(NAME_NEW, directory_name)))),
    }
    assert len(texts) == 1
    return texts.pop()


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0x04, b"abc"), (0x17, b"260101000000Z"), (0x18, b"20260101000000Z"), (0x1A, b"abc")],
    ids=["OCTET STRING", "UTCTime", "GeneralizedTime", "VisibleString"],
)
def test_enr_05_values_that_openssl_cannot_read_in_a_name_are_refused(tag: int, value: bytes) -> None:
    assert "The attribute CN in a name is not text" in refused_as_any_name(name_of(tag, value))
    assert "1.2.3.4 in a name is not text" in refused_as_any_name(name_of(tag, value, "06032a0304"))


@pytest.mark.parametrize("text", ["a\0.example", "a\n", "\x1b[2J", "\x7f", "\x85"])
def test_enr_05_control_characters_in_a_name_are_refused(text: str) -> None:
    assert "CN in a name holds control characters" in refused_as_any_name(name_of(0x0C, text.encode()))
    assert "CN in a name holds control characters" in refused_as_any_name(name_of(0x1E, text.encode("utf-16-be")))


@pytest.mark.parametrize("tag", [0x0C, 0x13, 0x1E])
def test_enr_05_empty_values_in_a_name_are_refused(tag: int) -> None:
    assert "CN in a name is empty" in refused_as_any_name(name_of(tag, b""))


@pytest.mark.parametrize(
    ("oid", "tag", "value"),
    [
        (COMMON_NAME, 0x0C, "Müller \u200f\u05d0".encode()),
        (COMMON_NAME, 0x13, b"dev 1"),
        (COMMON_NAME, 0x14, b"dev1"),
        (COMMON_NAME, 0x1C, "dev1".encode("utf-32-be")),
        (COMMON_NAME, 0x1E, "dev1".encode("utf-16-be")),
        (COMMON_NAME, 0x12, b"17"),
        (COUNTRY, 0x13, b"DE"),
        (SERIAL_NUMBER, 0x13, b"0017"),
        (EMAIL, 0x16, b"a@b.example"),
        (DOMAIN_COMPONENT, 0x16, b"example"),
        (UNIQUE_ID, 0x03, b"\0abc"),
        ("06032a0304", 0x0C, b"an attribute of one's own"),
        (COMMON_NAME, 0x0C, b"x" * 200),  # the tag is found behind a long length, too
    ],
)
def test_enr_05_what_programs_write_into_names_passes(oid: str, tag: int, value: bytes) -> None:
    name = name_of(tag, value, oid)
    assert CertificationRequest.decode(with_attributes(subject=name)).subject.public_bytes() == name
    CertificationRequest.decode(with_attributes(attribute(CHANGE, change(name))))
    CertificationRequest.decode(with_attributes(attribute(EXTENSIONS, extensions(der.write(0xA4, name)))))
