"""The answer to /csrattrs: what a CSR should contain (RFC 7030 §4.5.2, RFC 9908 §3.2).

Only OBJECT IDENTIFIERs are put into attributes, because deployed clients read nothing else there (hostap's hs20).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from pyasn1.codec.der import encoder
from pyasn1.type import namedtype, univ

from kipuka.est.keys import KeyType

OIDS = {
    # attributes of a CSR
    "challengePassword": "1.2.840.113549.1.9.7",
    "extensionRequest": "1.2.840.113549.1.9.14",
    "sMIMECapabilities": "1.2.840.113549.1.9.15",
    "decryptKeyID": "1.2.840.113549.1.9.16.2.37",
    "asymmDecryptKeyID": "1.2.840.113549.1.9.16.2.54",
    "macAddress": "1.3.6.1.1.1.1.22",
    # attributes of a subject
    "commonName": "2.5.4.3",
    "serialNumber": "2.5.4.5",
    "countryName": "2.5.4.6",
    "localityName": "2.5.4.7",
    "stateOrProvinceName": "2.5.4.8",
    "organizationName": "2.5.4.10",
    "organizationalUnitName": "2.5.4.11",
    "emailAddress": "1.2.840.113549.1.9.1",
    # extensions
    "keyUsage": "2.5.29.15",
    "subjectAltName": "2.5.29.17",
    "extKeyUsage": "2.5.29.37",
    # keys and curves
    "rsaEncryption": "1.2.840.113549.1.1.1",
    "ecPublicKey": "1.2.840.10045.2.1",
    "secp256r1": "1.2.840.10045.3.1.7",
    "secp384r1": "1.3.132.0.34",
    "secp521r1": "1.3.132.0.35",
    "ed25519": "1.3.101.112",
    "ed448": "1.3.101.113",
    # signatures
    "sha256WithRSAEncryption": "1.2.840.113549.1.1.11",
    "sha384WithRSAEncryption": "1.2.840.113549.1.1.12",
    "sha512WithRSAEncryption": "1.2.840.113549.1.1.13",
    "ecdsaWithSHA256": "1.2.840.10045.4.3.2",
    "ecdsaWithSHA384": "1.2.840.10045.4.3.3",
    "ecdsaWithSHA512": "1.2.840.10045.4.3.4",
}
"""The names that ``csr_attributes`` knows; anything else is written as a dotted number."""

_CHALLENGE_PASSWORD = x509.ObjectIdentifier(OIDS["challengePassword"])
_EXTENSION_REQUEST = x509.ObjectIdentifier(OIDS["extensionRequest"])
_RSA = x509.ObjectIdentifier(OIDS["rsaEncryption"])
_EC = x509.ObjectIdentifier(OIDS["ecPublicKey"])
_CURVES = frozenset(x509.ObjectIdentifier(OIDS[name]) for name in ("secp256r1", "secp384r1", "secp521r1"))
_KEY_ALGORITHMS = {
    "rsa": _RSA,
    "ec": _EC,
    "ed25519": x509.ObjectIdentifier(OIDS["ed25519"]),
    "ed448": x509.ObjectIdentifier(OIDS["ed448"]),
}
_BY_LOWER_NAME = {name.lower(): x509.ObjectIdentifier(oid) for name, oid in OIDS.items()}


@dataclass(frozen=True)
class Attribute:
    """An attribute with values, all of them OIDs."""

    type: x509.ObjectIdentifier
    values: tuple[x509.ObjectIdentifier, ...] = ()


Wish = x509.ObjectIdentifier | Attribute
"""One element of CsrAttrs: an OID that should occur in the CSR, or an attribute with values."""


def parse(text: str) -> Wish:
    """Read one entry of ``csr_attributes``: ``name-or-oid`` or ``name-or-oid:value-oid,value-oid``.

    :raises ValueError: with a sentence for the administrator.
    """
    type_text, colon, values_text = text.partition(":")
    oid = _oid(type_text)
    if not colon:
        return oid
    attribute = Attribute(oid, tuple(_oid(value) for value in values_text.split(",")))
    if oid == _EXTENSION_REQUEST:
        # The sample in RFC 7030 does it, and RFC 9908 §3.2 corrects it: an Extensions value belongs there, not an OID.
        raise ValueError("extensionRequest takes no OIDs as values; list each of them as an entry of its own")
    if oid == _EC and not (len(attribute.values) == 1 and attribute.values[0] in _CURVES):
        raise ValueError("ecPublicKey takes exactly one curve: secp256r1, secp384r1 or secp521r1")
    if oid != _EC and oid in _KEY_ALGORITHMS.values():
        raise ValueError(f"{type_text.strip()} takes no OIDs as values; write it without ':'")
    if len(set(attribute.values)) != len(attribute.values):
        raise ValueError(f"{text!r} names a value twice")
    return attribute


def encode(
    required_key_types: Iterable[KeyType], *, challenge_password: bool, extra: Iterable[Wish] = ()
) -> bytes | None:
    """Return DER of the CsrAttrs for a label's rules; None when there is nothing to say.

    A key type is announced when exactly one is allowed: several cannot be told apart from several demands. The size of
    an RSA key would be an INTEGER value and is left out.

    :param required_key_types: the label's ``allowed_key_types``; none means any.
    :param challenge_password: whether the label demands linking to the TLS session (RFC 7030 §3.5).
    :param extra: the label's ``csr_attributes``.
    :raises ValueError: when ``extra`` asks for a key type that contradicts the required ones, or for two of them.
    """
    wishes: list[Wish] = [_CHALLENGE_PASSWORD] if challenge_password else []
    key_types = set(required_key_types)
    if len(key_types) == 1:
        wishes.append(_key_attribute(key_types.pop()))
    wishes.extend(extra)
    wishes = list(dict.fromkeys(wishes))
    types = [wish.type if isinstance(wish, Attribute) else wish for wish in wishes]
    if sum(oid in _KEY_ALGORITHMS.values() for oid in types) > 1:
        raise ValueError("more than one key type is announced; allowed_key_types says it, so leave it out here")
    for oid in types:
        if types.count(oid) > 1:
            raise ValueError(f"{oid.dotted_string} is announced twice; put all its values into one entry")
    if not wishes:
        return None
    return bytes(encoder.encode(_sequence_of(wishes)))


def _key_attribute(key_type: KeyType) -> Attribute:
    """State the key requirement: the type is the algorithm, the only value the curve if it has one (RFC 9908 §3.2)."""
    values = () if key_type.curve is None else (x509.ObjectIdentifier(OIDS[key_type.curve]),)
    return Attribute(_KEY_ALGORITHMS[key_type.family], values)


def _oid(text: str) -> x509.ObjectIdentifier:
    name = text.strip()
    known = _BY_LOWER_NAME.get(name.lower())
    if known is not None:
        return known
    try:
        return x509.ObjectIdentifier(name)
    except ValueError:
        raise ValueError(
            f"unknown attribute {name!r}; write its OID as a dotted number, or one of {', '.join(OIDS)}"
        ) from None


_ATTRIBUTE = univ.Sequence(
    componentType=namedtype.NamedTypes(
        namedtype.NamedType("type", univ.ObjectIdentifier()),
        namedtype.NamedType("values", univ.SetOf(componentType=univ.ObjectIdentifier())),
    )
)


def _sequence_of(wishes: list[Wish]) -> univ.SequenceOf:
    structure = univ.SequenceOf(componentType=univ.Any())
    for wish in wishes:
        if isinstance(wish, Attribute):
            element = _ATTRIBUTE.clone()
            element["type"] = wish.type.dotted_string
            element["values"].extend(univ.ObjectIdentifier(value.dotted_string) for value in wish.values)
        else:
            element = univ.ObjectIdentifier(wish.dotted_string)
        structure.append(univ.Any(encoder.encode(element)))
    return structure
