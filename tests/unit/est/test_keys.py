from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519

from kipuka.errors import Kind, RequestError
from kipuka.est import keys
from tests.support import pki

EC = {
    name: ec.generate_private_key(curve).public_key()
    for name, curve in {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}.items()
}
RSA_2048 = pki.rsa_key().public_key()
ED25519 = ed25519.Ed25519PrivateKey.generate().public_key()
ED448 = ed448.Ed448PrivateKey.generate().public_key()


def rsa_public(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def coprime_modulus(bits: int) -> int:
    """A number of that many bits without small factors; nobody factors it to find out that it is no RSA modulus."""
    modulus = RSA_2048.public_numbers().n
    number = (1 << (bits - 1)) + modulus % (1 << (bits - 1))
    while any(number % prime == 0 for prime in range(2, 168)):
        number += 1
    return number


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rsa", "rsa"), ("RSA-3072", "rsa-3072"), ("rsa:2048", "rsa-2048"), ("rsa4096", "rsa-4096"), ("EC", "ec"),
        ("ecdsa", "ec"), ("P-256", "ec-p256"), ("p384", "ec-p384"), ("secp384r1", "ec-p384"), ("nistp256", "ec-p256"),
        ("NIST P-521", "ec-p521"), ("prime256v1", "ec-p256"), ("ec-p521", "ec-p521"), ("ec:secp521r1", "ec-p521"),
        ("Ed25519", "ed25519"), ("ED448", "ed448"),
    ],
)  # fmt: skip
def test_key_type_spellings(text: str, name: str) -> None:
    assert keys.KeyType.parse(text).name == name


@pytest.mark.parametrize("text", ["", "rsa-1024", "rsa-2560", "p-192", "dsa", "secp256k1", "rsa-2048x"])
def test_unknown_key_types_are_refused_with_the_list(text: str) -> None:
    with pytest.raises(ValueError, match="ec-p384"):
        keys.KeyType.parse(text)


def test_every_key_type_reads_its_own_name() -> None:
    assert {keys.KeyType.parse(name).name for name in keys.KEY_TYPES} == set(keys.KEY_TYPES)


@pytest.mark.parametrize(
    ("key", "fitting"),
    [
        (EC["p256"], {"ec", "ec-p256"}),
        (EC["p384"], {"ec", "ec-p384"}),
        (EC["p521"], {"ec", "ec-p521"}),
        (RSA_2048, {"rsa", "rsa-2048"}),
        (rsa_public(coprime_modulus(3072)), {"rsa", "rsa-2048", "rsa-3072"}),
        (rsa_public(coprime_modulus(4096)), {"rsa", "rsa-2048", "rsa-3072", "rsa-4096"}),
        (ED25519, {"ed25519"}),
        (ED448, {"ed448"}),
        (x25519.X25519PrivateKey.generate().public_key(), set()),
    ],
    ids=lambda value: keys.describe(value) if not isinstance(value, set) else "",
)
def test_enr_09_key_types_and_the_keys_that_fit(key: rsa.RSAPublicKey, fitting: set[str]) -> None:
    assert {name for name, key_type in keys.KEY_TYPES.items() if key_type.fits(key)} == fitting


def test_keys_are_described() -> None:
    described = [keys.describe(key) for key in (RSA_2048, EC["p384"], ED25519, ED448)]
    assert described == ["RSA 2048", "EC P-384", "Ed25519", "Ed448"]
    assert keys.describe(ec.generate_private_key(ec.SECP256K1()).public_key()) == "EC secp256k1"


@pytest.mark.parametrize(
    "key", [*EC.values(), RSA_2048, ED25519, ED448, rsa_public(coprime_modulus(8192))], ids=keys.describe
)
def test_enr_09_good_keys_pass(key: rsa.RSAPublicKey) -> None:
    keys.check_strength(key)


N = RSA_2048.public_numbers().n


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (rsa_public(coprime_modulus(1024)), "1024 bits"),
        (rsa_public(coprime_modulus(2047)), "2047 bits"),
        (rsa_public(coprime_modulus(8200)), "8200 bits"),
        (rsa_public(N, 3), "exponent"),
        (rsa_public(N, 17), "exponent"),
        (rsa_public(N, (1 << 256) + 1), "exponent"),
        (rsa_public(coprime_modulus(2048) * 3), "small prime factor"),
        (ec.generate_private_key(ec.SECP192R1()).public_key(), "EC secp192r1"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "EC secp256k1"),
        (x25519.X25519PrivateKey.generate().public_key(), "X25519"),
    ],
)
def test_enr_09_weak_keys_are_refused_by_name(key: rsa.RSAPublicKey, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        keys.check_strength(key)
    assert caught.value.kind is Kind.FORBIDDEN


def test_enr_09_roca_fingerprint() -> None:
    product = keys._SMALL_PRIMES_PRODUCT // 2
    modulus = (1 << 2047) // product * product + product + pow(65537, 12345, product)
    modulus += product * (modulus % 2 == 0)
    with pytest.raises(RequestError, match="ROCA"):
        keys.check_strength(rsa_public(modulus))
    keys.check_strength(RSA_2048)


P_25519, P_448 = 2**255 - 19, 2**448 - 2**224 - 1
D = -121665 * pow(121666, -1, P_25519)
"""Of the curve -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032 section 5.1)."""


def small_orders() -> list[ed25519.Ed25519PublicKey | ed448.Ed448PublicKey]:
    eight = keys._Y_OF_ORDER_8
    return [
        *(
            ed25519.Ed25519PublicKey.from_public_bytes((y | sign << 255).to_bytes(32, "little"))
            for y in (0, 1, P_25519 - 1, P_25519, P_25519 + 1, eight, P_25519 - eight)
            for sign in (0, 1)
        ),
        *(
            ed448.Ed448PublicKey.from_public_bytes((y | sign << 455).to_bytes(57, "little"))
            for y in (0, 1, P_448 - 1, P_448, P_448 + 1)
            for sign in (0, 1)
        ),
    ]


@pytest.mark.parametrize("key", small_orders(), ids=lambda key: key.public_bytes_raw().hex())
def test_enr_09_keys_of_small_order_are_refused(key: ed25519.Ed25519PublicKey) -> None:
    with pytest.raises(RequestError, match="anybody could sign") as caught:
        keys.check_strength(key)
    assert caught.value.kind is Kind.FORBIDDEN


def test_enr_09_anybody_can_sign_for_a_key_of_small_order() -> None:
    """Which is why they are refused: the library itself takes such signatures."""
    neutral = (1).to_bytes(32, "little")
    ed25519.Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")


def test_the_points_of_order_8() -> None:
    """The double of one has y = 0, from which follows d y^4 + 2 y^2 = 1."""
    y = keys._Y_OF_ORDER_8
    assert (D * y**4 + 2 * y**2) % P_25519 == 1
