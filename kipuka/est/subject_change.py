"""The ChangeSubjectName attribute: other names than the CSR's (RFC 6402 §2.8, RFC 7030 §4.2.1).

    ChangeSubjectName ::= SEQUENCE { subject Name OPTIONAL, subjectAlt GeneralNames OPTIONAL }   -- at least one

Both fields are SEQUENCEs without a tag (erratum 3943 proposes [1] for the second, which is read as well). They are told
apart by what is inside: a Name holds SETs, GeneralNames hold elements with context-specific tags.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from kipuka.est import der

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
    :raises ValueError: when the value is not a ChangeSubjectName; cryptography has more errors for bad names.
    """
    name, alternative = _sort(der.parts(value, der.SEQUENCE, at_most=2))
    attributes = b""
    if alternative is not None:
        extension = der.wrap(der.SEQUENCE, _SUBJECT_ALT_NAME, der.wrap(der.OCTET_STRING, alternative))
        extensions = der.wrap(der.SEQUENCE, extension)
        attributes = der.wrap(der.SEQUENCE, _EXTENSION_REQUEST, der.wrap(der.SET, extensions))
    info = der.wrap(der.SEQUENCE, _VERSION_1, name, public_key_info, der.wrap(der.CONTEXT_0, attributes))
    return x509.load_der_x509_csr(der.wrap(der.SEQUENCE, info, _ED25519, _NO_SIGNATURE))


def _sort(elements: list[bytes]) -> tuple[bytes, bytes | None]:
    """Tell the Name from the GeneralNames; the second is returned as an untagged SEQUENCE.

    :raises ValueError: when there is neither, something else, or the other order.
    """
    name: bytes | None = None
    alternative: bytes | None = None
    for element in elements:
        content = der.content(element)
        holds_sets = not content or content[0] == der.SET
        if element[0] == der.SEQUENCE and holds_sets and name is None and alternative is None:
            name = element
        elif element[0] in (der.SEQUENCE, der.CONTEXT_1) and not holds_sets and alternative is None:
            alternative = der.wrap(der.SEQUENCE, content)
        else:
            raise ValueError("neither a subject nor a subjectAlt")
    if name is None and alternative is None:
        raise ValueError("neither subject nor subjectAlt")
    return _EMPTY_NAME if name is None else name, alternative


_EMPTY_NAME = bytes.fromhex("3000")
_VERSION_1 = bytes.fromhex("020100")
_SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
_EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
_ED25519 = bytes.fromhex("300506032b6570")
_NO_SIGNATURE = bytes.fromhex("030100")
