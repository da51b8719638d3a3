"""The ChangeSubjectName attribute: other names than the CSR's (RFC 6402 §2.8, RFC 7030 §4.2.1).

    ChangeSubjectName ::= SEQUENCE { subject Name OPTIONAL, subjectAlt GeneralNames OPTIONAL }   -- at least one

Both fields are SEQUENCEs without a tag (erratum 3943 proposes [1] for the second, which is read as well). They are told
apart by what is inside: a Name holds SETs, GeneralNames hold elements with context-specific tags.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from pyasn1.codec.der import decoder
from pyasn1.type import namedtype, univ

OID = x509.ObjectIdentifier("1.3.6.1.5.5.7.7.36")


@dataclass(frozen=True)
class SubjectChange:
    """The names a certificate is to have instead of the CSR's.

    :param subject: the empty name when the attribute has none.
    :param alternative: None when the certificate is to have no SubjectAltName.
    """

    subject: x509.Name
    alternative: x509.SubjectAlternativeName | None


def carrier(value: bytes, public_key_info: bytes) -> x509.CertificateSigningRequest:
    """Put the names of the attribute into an unsigned request: cryptography reads names only inside a structure.

    :param value: DER of the attribute's value.
    :param public_key_info: DER of any SubjectPublicKeyInfo.
    :raises Exception: of this module's libraries or ValueError, when the value is not a ChangeSubjectName.
    """
    fields, rest = decoder.decode(value, asn1Spec=_FIELDS)
    if rest:
        raise ValueError("bytes after the attribute's value")
    name, alternative = _sort([bytes(element) for element in fields.values() if element.isValue])
    attributes = b""
    if alternative is not None:
        extension = _element(_SEQUENCE, _SUBJECT_ALT_NAME, _element(_OCTET_STRING, alternative))
        attributes = _element(_SEQUENCE, _EXTENSION_REQUEST, _element(_SET, _element(_SEQUENCE, extension)))
    info = _element(_SEQUENCE, _VERSION_1, name, public_key_info, _element(_CONTEXT_0, attributes))
    return x509.load_der_x509_csr(_element(_SEQUENCE, info, _ED25519, _NO_SIGNATURE))


def _sort(elements: list[bytes]) -> tuple[bytes, bytes | None]:
    """Tell the Name from the GeneralNames; the second is returned as an untagged SEQUENCE.

    :raises ValueError: when the elements are something else, or stand in the other order.
    """
    name: bytes | None = None
    alternative: bytes | None = None
    for element in elements:
        content = _content(element)
        holds_sets = not content or content[0] == _SET
        if element[0] == _SEQUENCE and holds_sets and name is None and alternative is None:
            name = element
        elif element[0] in (_SEQUENCE, _CONTEXT_1) and not holds_sets and alternative is None:
            alternative = _element(_SEQUENCE, content)
        else:
            raise ValueError("neither a subject nor a subjectAlt")
    return _EMPTY_NAME if name is None else name, alternative


_OCTET_STRING, _SEQUENCE, _SET, _CONTEXT_0, _CONTEXT_1 = 0x04, 0x30, 0x31, 0xA0, 0xA1
_EMPTY_NAME = bytes.fromhex("3000")
_VERSION_1 = bytes.fromhex("020100")
_SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
_EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
_ED25519 = bytes.fromhex("300506032b6570")
_NO_SIGNATURE = bytes.fromhex("030100")

_FIELDS = univ.Sequence(
    componentType=namedtype.NamedTypes(
        namedtype.NamedType("first", univ.Any()), namedtype.OptionalNamedType("second", univ.Any())
    )
)


def _element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _content(element: bytes) -> bytes:
    """Return the content of an element that a decoder has accepted, so that its length is known to be right."""
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]
