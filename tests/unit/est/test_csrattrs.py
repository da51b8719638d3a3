from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography import x509

from kipuka.est import csrattrs
from kipuka.est.keys import KEY_TYPES, KeyType
from tests.unit.est import der

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "est" / "csrattrs.json").read_text())
CHALLENGE, RSA, EC = "1.2.840.113549.1.9.7", "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"


def vector(name: str) -> bytes:
    return base64.b64decode(VECTORS[name])


def decode(encoded: bytes | None) -> dict[str, list[str] | None]:
    """What an OID-only client reads: type -> None for a bare OID, else the OIDs in its SET."""
    assert encoded is not None
    outer = der.read(encoded)
    assert outer.tag == der.SEQUENCE
    found: dict[str, list[str] | None] = {}
    for part in outer.parts:
        if part.tag == der.SEQUENCE:
            name, values = part.parts
            assert values.tag == der.SET
            found[name.oid] = [value.oid for value in values.parts]
        else:
            found[part.oid] = None
    assert len(found) == len(outer.parts), "something occurs twice"
    return found


def encode(key_types: str = "", *extra: str, linking: bool = False) -> bytes | None:
    return csrattrs.encode(
        [KeyType.parse(name) for name in key_types.split()],
        challenge_password=linking,
        extra=[csrattrs.parse(text) for text in extra],
    )


def oids(*dotted: str) -> tuple[x509.ObjectIdentifier, ...]:
    return tuple(x509.ObjectIdentifier(each) for each in dotted)


def test_csa_01_vectors_read_as_the_page_says() -> None:
    assert decode(vector("empty")) == {}
    assert decode(vector("linking")) == {CHALLENGE: None}
    assert decode(vector("sample-corrected")) == {
        CHALLENGE: None,
        EC: ["1.3.132.0.34"],
        "1.3.6.1.1.1.1.22": None,
        "1.2.840.10045.4.3.3": None,
    }


def test_csa_02_nothing_to_say() -> None:
    assert encode() is None
    assert encode("ec-p256 rsa-2048") is None


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("linking", encode(linking=True)),
        ("sample-corrected", encode("ec-p384", "macAddress", "ecdsaWithSHA384", linking=True)),
        ("p384-serial-number", encode("ec-p384", "serialNumber", "ecdsaWithSHA384", linking=True)),
    ],
)
def test_csa_01_vectors_are_what_we_send(name: str, encoded: bytes) -> None:
    assert encoded == vector(name)


@pytest.mark.parametrize(
    ("key_type", "expected"),
    [
        ("ec", {EC: []}),
        ("ec-p256", {EC: ["1.2.840.10045.3.1.7"]}),
        ("ec-p384", {EC: ["1.3.132.0.34"]}),
        ("ec-p521", {EC: ["1.3.132.0.35"]}),
        ("rsa", {RSA: []}),
        ("rsa-2048", {RSA: []}),
        ("rsa-3072", {RSA: []}),
        ("rsa-4096", {RSA: []}),
        ("ed25519", {"1.3.101.112": []}),
        ("ed448", {"1.3.101.113": []}),
    ],
)
def test_csa_03_csa_05_the_only_key_type_is_announced(key_type: str, expected: dict[str, list[str]]) -> None:
    assert decode(encode(key_type)) == expected


def test_csa_03_every_key_type_can_be_announced() -> None:
    assert all(csrattrs.encode([key_type], challenge_password=False) for key_type in KEY_TYPES.values())


def test_csa_03_of_several_key_types_none_is_announced() -> None:
    assert decode(encode("ec-p256 ec-p384", linking=True)) == {CHALLENGE: None}
    assert decode(encode("ec-p384 secp384r1")) == {EC: ["1.3.132.0.34"]}


def test_csa_04_linking_adds_the_challenge_password_once() -> None:
    assert decode(encode("", "serialNumber")) == {"2.5.4.5": None}
    assert decode(encode("", "serialNumber", linking=True)) == {CHALLENGE: None, "2.5.4.5": None}
    assert decode(encode("", "challengePassword", linking=True)) == {CHALLENGE: None}


def test_csa_05_two_key_requirements_are_refused() -> None:
    for key_types, extra in (
        ("rsa", ["ecPublicKey"]),
        ("ec-p384", ["ecPublicKey:secp256r1"]),
        ("", ["ed25519", "rsaEncryption"]),
    ):
        with pytest.raises(ValueError, match="key type"):
            encode(key_types, *extra)


def test_csa_06_oids_never_go_into_an_extension_request() -> None:
    with pytest.raises(ValueError, match="extensionRequest takes no OIDs"):
        csrattrs.parse("extensionRequest:macAddress")
    assert decode(encode("", "extensionRequest")) == {"1.2.840.113549.1.9.14": None}


def test_csa_10_values_are_oids_and_sorted() -> None:
    encoded = encode("", "1.3.6.1.4.1.99999.1:2.5.4.5,1.3.132.0.34,2.5.4.3")
    assert decode(encoded) == {"1.3.6.1.4.1.99999.1": ["2.5.4.3", "2.5.4.5", "1.3.132.0.34"]}


def test_csa_11_an_attribute_is_announced_once() -> None:
    assert decode(encode("", "serialNumber", "2.5.4.5")) == {"2.5.4.5": None}
    with pytest.raises(ValueError, match=r"2\.5\.4\.5 is announced twice"):
        encode("", "serialNumber", "serialNumber:2.5.4.3")


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("challengePassword", x509.ObjectIdentifier(CHALLENGE)),
        (" CHALLENGEPASSWORD ", x509.ObjectIdentifier(CHALLENGE)),
        ("1.2.3.4", x509.ObjectIdentifier("1.2.3.4")),
        ("ecPublicKey:secp384r1", csrattrs.Attribute(x509.ObjectIdentifier(EC), oids("1.3.132.0.34"))),
        ("1.2.3: 1.2.4 , 1.2.5", csrattrs.Attribute(x509.ObjectIdentifier("1.2.3"), oids("1.2.4", "1.2.5"))),
    ],
)
def test_csa_11_configuration_strings(text: str, wish: csrattrs.Wish) -> None:
    assert csrattrs.parse(text) == wish


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "unknown attribute"),
        ("challengePasswort", "challengePassword"),
        ("1.2.x", "dotted number"),
        ("9.9", "dotted number"),
        ("1.2.3:", "unknown attribute"),
        ("1.2.3:1.2.4,,1.2.5", "unknown attribute"),
        ("1.2.3:1.2.4,1.2.4", "twice"),
        ("ecPublicKey:", "unknown attribute"),
        ("ecPublicKey:secp256r1,secp384r1", "exactly one curve"),
        ("ecPublicKey:1.3.132.0.10", "exactly one curve"),
        ("rsaEncryption:4096", "unknown attribute"),
        ("rsaEncryption:secp256r1", "no OIDs"),
    ],
)
def test_csa_11_wrong_configuration_strings_are_explained(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        csrattrs.parse(text)


def test_every_known_name_is_an_oid_and_no_oid_has_two_names() -> None:
    assert len(set(csrattrs.OIDS.values())) == len(csrattrs.OIDS)
    assert all(csrattrs.parse(name) == x509.ObjectIdentifier(oid) for name, oid in csrattrs.OIDS.items())
