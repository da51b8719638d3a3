from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kipuka.est import certs_only
from tests.support import pki
from tests.unit.est import der

ROOT = pki.root()
MIDDLE = ROOT.intermediate()
LEAF = MIDDLE.client("CN=dev1")
CERTIFICATES = (ROOT.certificate, MIDDLE.certificate, LEAF.certificate)


def test_enc_07_cac_02_degenerate_signed_data() -> None:
    content_info = der.read(certs_only.encode(CERTIFICATES))
    assert content_info.tag == der.SEQUENCE
    content_type, explicit = content_info.parts
    assert content_type.oid == "1.2.840.113549.1.7.2"
    assert explicit.tag == 0xA0
    (signed_data,) = explicit.parts
    version, algorithms, content, certificates, signers = signed_data.parts
    assert (version.tag, version.content) == (der.INTEGER, b"\x01")
    assert algorithms.encoded == signers.encoded == b"\x31\x00"
    (data,) = content.parts
    assert data.oid == "1.2.840.113549.1.7.1"
    assert certificates.tag == 0xA0
    found = [each.encoded for each in certificates.parts]
    assert found == sorted(each.public_bytes(Encoding.DER) for each in CERTIFICATES)


def test_cac_02_first_bytes() -> None:
    encoded = certs_only.encode(CERTIFICATES)
    assert encoded[0] == 0x30
    assert encoded[2 + (encoded[1] & 0x7F) :].startswith(bytes.fromhex("06092a864886f70d010702"))


def test_enr_02_one_certificate_stays_one() -> None:
    encoded = certs_only.encode([LEAF.certificate])
    assert pkcs7.load_der_pkcs7_certificates(encoded) == [LEAF.certificate]


def test_cac_07_no_duplicates() -> None:
    encoded = certs_only.encode([LEAF.certificate, ROOT.certificate, LEAF.certificate])
    assert encoded == certs_only.encode([LEAF.certificate, ROOT.certificate])
    assert len(pkcs7.load_der_pkcs7_certificates(encoded)) == 2


def test_cac_09_stable_bytes_in_any_order() -> None:
    assert len({certs_only.encode(order) for order in itertools.permutations(CERTIFICATES)}) == 1


def test_nothing_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="at least one"):
        certs_only.encode([])
