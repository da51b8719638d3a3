"""Public keys: the type names of the configuration, and the keys that nobody gets a certificate for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from kipuka.errors import Kind, RequestError

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""The curves that get certificates: OpenSSL's name and NIST's."""

_SMALLEST_MODULUS, _LARGEST_MODULUS = 2048, 8192  # bits
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = 0x10001, 1 << 256  # FIPS 186-5 §5.4 (e): odd, 2^16 < e < 2^256
_ADVICE = "use RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, Ed25519 or Ed448"


@dataclass(frozen=True)
class KeyType:
    """A kind of key that a label may ask for.

    :param name: as written in the configuration, for example ``ec-p384`` or ``rsa-3072``.
    :param family: ``rsa``, ``ec``, ``ed25519`` or ``ed448``.
    :param bits: RSA only: the smallest modulus that fits.
    :param curve: EC only: the curve's name in OpenSSL (``secp384r1``); None for any curve.
    """

    name: str
    family: str
    bits: int | None = None
    curve: str | None = None

    @classmethod
    def parse(cls, text: str) -> KeyType:
        """Read a name, without regard to case and with the usual other spellings (``P-256``, ``rsa:2048``).

        :raises ValueError: with the list of names.
        """
        try:
            return _SPELLINGS[_spelling(text)]
        except KeyError:
            known = ", ".join(KEY_TYPES)
            raise ValueError(f"unknown key type {text!r}; the key types are {known}") from None

    def fits(self, key: CertificatePublicKeyTypes) -> bool:
        """Tell whether a key is of this type."""
        match key:
            case rsa.RSAPublicKey():
                return self.family == "rsa" and key.key_size >= (self.bits or 0)
            case ec.EllipticCurvePublicKey():
                return self.family == "ec" and self.curve in (None, key.curve.name)
            case ed25519.Ed25519PublicKey():
                return self.family == "ed25519"
            case ed448.Ed448PublicKey():
                return self.family == "ed448"
            case _:
                return False


KEY_TYPES: dict[str, KeyType] = {
    key_type.name: key_type
    for key_type in (
        KeyType("rsa", "rsa"),
        KeyType("rsa-2048", "rsa", bits=2048),
        KeyType("rsa-3072", "rsa", bits=3072),
        KeyType("rsa-4096", "rsa", bits=4096),
        KeyType("ec", "ec"),
        KeyType("ec-p256", "ec", curve="secp256r1"),
        KeyType("ec-p384", "ec", curve="secp384r1"),
        KeyType("ec-p521", "ec", curve="secp521r1"),
        KeyType("ed25519", "ed25519"),
        KeyType("ed448", "ed448"),
    )
}
"""Every key type by its name. ``rsa-3072`` means at least so many bits; ``ec`` any of the three curves."""


def _spelling(text: str) -> str:
    return re.sub(r"[-_: ]", "", text.lower())


_SPELLINGS = {_spelling(name): key_type for name, key_type in KEY_TYPES.items()} | {
    spelling.format(size): KEY_TYPES[f"ec-p{size}"]
    for size in (256, 384, 521)
    for spelling in ("p{}", "nistp{}", "secp{}r1", "ecsecp{}r1", "ecdsap{}")
}
_SPELLINGS |= {"prime256v1": KEY_TYPES["ec-p256"], "ecdsa": KEY_TYPES["ec"]}


def describe(key: CertificatePublicKeyTypes) -> str:
    """Name a key's algorithm and size for people: ``RSA 2048``, ``EC P-256``, ``Ed25519``."""
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
        case dsa.DSAPublicKey():
            return f"DSA {key.key_size}"
        case _:
            return type(key).__name__.removesuffix("PublicKey")


def check_strength(key: CertificatePublicKeyTypes) -> None:
    """Refuse keys that are too weak, too large to verify cheaply, or of a kind that CAs here do not certify.

    :raises RequestError: FORBIDDEN, naming the fault.
    """
    match key:
        case rsa.RSAPublicKey():
            _check_rsa(key)
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            pass
        case ed25519.Ed25519PublicKey():
            _check_order(key, _P_25519, {0, 1, _P_25519 - 1, _Y_OF_ORDER_8, _P_25519 - _Y_OF_ORDER_8})
        case ed448.Ed448PublicKey():
            _check_order(key, _P_448, {0, 1, _P_448 - 1})
        case _:
            raise _refused(f"Keys of type {describe(key)} are not accepted: {_ADVICE}.")


def _check_rsa(key: rsa.RSAPublicKey) -> None:
    bits = key.key_size
    if bits < _SMALLEST_MODULUS:
        raise _refused(f"The RSA key has only {bits} bits: use at least {_SMALLEST_MODULUS}.")
    if bits > _LARGEST_MODULUS:
        raise _refused(f"The RSA key has {bits} bits, more than is accepted: use at most {_LARGEST_MODULUS}.")
    numbers = key.public_numbers()
    if numbers.e % 2 == 0 or not _SMALLEST_EXPONENT <= numbers.e < _LARGEST_EXPONENT:
        raise _refused("The RSA key's public exponent is not accepted: make a key with exponent 65537.")
    if math.gcd(numbers.n, _SMALL_PRIMES_PRODUCT) != 1:
        raise _refused("The RSA key's modulus has a small prime factor: make a new key with a sound generator.")
    if _is_roca(numbers.n):
        raise _refused("The RSA key has the ROCA weakness (CVE-2017-15361): make a new key with another generator.")


_SMALL_PRIMES = [prime for prime in range(3, 168, 2) if all(prime % other for other in range(3, prime, 2))]
_SMALL_PRIMES_PRODUCT = 2 * math.prod(_SMALL_PRIMES)
_ROCA_RESIDUES = {prime: frozenset(pow(65537, power, prime) for power in range(prime)) for prime in _SMALL_PRIMES}


def _is_roca(modulus: int) -> bool:
    """Tell whether a modulus has the ROCA fingerprint.

    The faulty generator makes primes k·M + (65537^a mod M), where M is a product of small primes; so the modulus is a
    power of 65537 modulo each of them (Nemec et al., "The Return of Coppersmith's Attack", 2017, §3.1). A random
    modulus has that property with a chance of about 2^-27 or less.
    """
    return all(modulus % prime in residues for prime, residues in _ROCA_RESIDUES.items())


_P_25519, _P_448 = 2**255 - 19, 2**448 - 2**224 - 1  # RFC 8032 §5.1, §5.2
_Y_OF_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)


def _check_order(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey, p: int, small: set[int]) -> None:
    """Refuse the points of order 1, 2, 4 and 8: signatures that fit them can be made without a private key.

    They are the 8 of libsodium's ge25519_has_small_order (4 on Ed448, whose cofactor is 4), told by y alone. The first
    bit of an encoding is the sign of x; a y of p or more is another encoding of y - p, and OpenSSL takes some.

    :param small: the y of these points.
    """
    octets = key.public_bytes_raw()
    y = int.from_bytes(octets, "little") % (1 << (8 * len(octets) - 1))
    if y % p in small:
        raise _refused(f"With this {describe(key)} key anybody could sign: make a new key with a sound generator.")


def _refused(text: str) -> RequestError:
    return RequestError(Kind.FORBIDDEN, text)
