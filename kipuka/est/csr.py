"""PKCS#10 certification requests (RFC 2986), as EST clients send them."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID
from pyasn1.codec.der import decoder

from kipuka.errors import Kind, RequestError
from kipuka.est import der as elements
from kipuka.est import keys, subject_change
from kipuka.est.subject_change import SubjectChange

MAX_ATTRIBUTES = 32
MAX_SUBJECT_PARTS = 50
MAX_SUBJECT_TEXT = 4096
"""Characters in all values of the subject together."""
MAX_ALTERNATIVE_NAMES = 100
MAX_CHALLENGE_PASSWORD = 255
"""Bytes; the upper bound of RFC 2985 §5.4.1."""

_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
_MICROSOFT_EXTENSIONS = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
_ATTRIBUTE_NAMES = {
    AttributeOID.CHALLENGE_PASSWORD: "challengePassword",
    _EXTENSION_REQUEST: "extensionRequest",
    subject_change.OID: "ChangeSubjectName",
}

_STRONG_HASHES = frozenset({"sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"})
_TEXT = frozenset({0x03, 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1C, 0x1E})
"""Tags of values in names (RFC 5280 App. A.1): those of DirectoryString; IA5String for email and domainComponent;
NumericString; BIT STRING, which cryptography reads in an x500UniqueIdentifier only."""
_PLAIN = re.compile(r"[!-~]+")
_CODECS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii"}
"""By tag: UTF8String, PrintableString, T61String, IA5String (RFC 2985 §5.4.1, and what clients send)."""


@dataclass(frozen=True, repr=False)
class CertificationRequest:
    """A certification request whose signature, key and attributes have been checked.

    :param request: the library's view of it.
    :param der: the bytes the client sent.
    :param public_key_info: DER of the SubjectPublicKeyInfo, in the form cryptography writes for certificates too.
    :param alternative: the SubjectAltName asked for by extensionRequest.
    """

    request: x509.CertificateSigningRequest
    der: bytes
    subject: x509.Name
    public_key: CertificatePublicKeyTypes
    public_key_info: bytes
    alternative: x509.SubjectAlternativeName | None
    challenge_password: str | None
    subject_change: SubjectChange | None

    @classmethod
    def decode(cls, der: bytes) -> CertificationRequest:
        """Read one PKCS#10 request and verify it with its own key (RFC 7030 §4.2.1, §3.4).

        The key is judged first (:func:`kipuka.est.keys.check_strength`): verifying with an oversized one costs much.

        :raises RequestError: MALFORMED for whatever is wrong with the bytes, FORBIDDEN for an unacceptable key.
        """
        with _library(
            "The body is not a PKCS#10 certification request in DER: make one, for example with openssl req."
        ):
            request = _load(der)
        with _library("The public key of the request cannot be read: use RSA, EC on a named curve, Ed25519 or Ed448."):
            public_key = request.public_key()
            public_key_info = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        keys.check_strength(public_key)
        _check_signature(request)
        attributes = _attributes(request)
        subject, alternative = _names(request)
        password = attributes.get(AttributeOID.CHALLENGE_PASSWORD)
        change = attributes.get(subject_change.OID)
        return cls(
            request,
            der,
            subject,
            public_key,
            public_key_info,
            alternative,
            None if password is None else _challenge_password(password),
            None if change is None else _subject_change(change, public_key_info),
        )

    @property
    def effective_subject(self) -> x509.Name:
        """The subject the certificate is to have: ChangeSubjectName's, else the CSR's."""
        return self.subject if self.subject_change is None else self.subject_change.subject

    @property
    def effective_alternative(self) -> x509.SubjectAlternativeName | None:
        """The SubjectAltName the certificate is to have: ChangeSubjectName's, else the CSR's."""
        return self.alternative if self.subject_change is None else self.subject_change.alternative

    def __repr__(self) -> str:
        # Neither the challenge password, which may be a secret, nor the DER, which contains it.
        return f"<CertificationRequest {self.subject.rfc4514_string()!r}, {keys.describe(self.public_key)}>"


def _load(der: bytes) -> x509.CertificateSigningRequest:
    """Load the request; two usual mistakes have their own sentence."""
    try:
        return x509.load_der_x509_csr(der)
    except ValueError as error:
        if "InvalidSetOrdering" in str(error) and "attributes" in str(error):
            # strongSwan 5.9 does it when it is given names and a password; what is signed cannot be sorted afterwards.
            raise _malformed(
                "The attributes of the request are not sorted as DER demands: leave the challengePassword out,"
                " or make the request with another program."
            ) from None
        _, rest = elements.first(der)
        if not rest:
            raise
        x509.load_der_x509_csr(der[: -len(rest)])
        raise _malformed(
            f"The certification request is followed by {len(rest)} more bytes: send one request and nothing else."
        ) from None


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    algorithm = request.signature_algorithm_oid.dotted_string
    unsupported = f"The signature algorithm {algorithm} is not supported: sign the request with SHA-256 or better."
    with _library(unsupported):
        digest = request.signature_hash_algorithm  # None for Ed25519 and Ed448, which have no choice of hash
    if digest is not None and digest.name not in _STRONG_HASHES:
        raise _malformed(
            f"The request is signed with {digest.name.upper()}, which is too weak: sign it with SHA-256 or better.",
            f"signature algorithm {algorithm}",
        )
    with _library(unsupported):
        valid = request.is_signature_valid
    if not valid:
        raise _malformed("The signature of the request does not verify: sign the request with its own private key.")


def _attributes(request: x509.CertificateSigningRequest) -> dict[x509.ObjectIdentifier, bytes]:
    """Return the attributes, each with its only value as a complete DER element.

    An attribute that occurs twice is refused: the CA behind might look at the other one.
    """
    # Not cryptography's view: it does not give the type of a value, and version 43 panics when there is no value.
    attributes: dict[x509.ObjectIdentifier, bytes] = {}
    with _library(f"The attributes of the request cannot be read: send at most {MAX_ATTRIBUTES}, each with one value."):
        *_, field = elements.parts(request.tbs_certrequest_bytes, elements.SEQUENCE, at_most=4)
        for attribute in elements.parts(field, elements.CONTEXT_0, at_most=MAX_ATTRIBUTES):
            type_, values = elements.parts(attribute, elements.SEQUENCE, at_most=2)
            (value,) = elements.parts(values, elements.SET, at_most=1)
            oid = x509.ObjectIdentifier(str(decoder.decode(type_)[0]))
            if oid in attributes:
                name = _ATTRIBUTE_NAMES.get(oid, oid.dotted_string)
                raise _malformed(f"The attribute {name} occurs more than once: send it once.")
            attributes[oid] = value
    if _EXTENSION_REQUEST in attributes and _MICROSOFT_EXTENSIONS in attributes:
        raise _malformed("The request asks for extensions in two attributes: put them all into one extensionRequest.")
    return attributes


def _challenge_password(value: bytes) -> str:
    with _library("The challengePassword cannot be read: send it as PrintableString or UTF8String."):
        codec = _CODECS[value[0]]
        octets = elements.content(value)
        password = octets.decode(codec)
    if len(octets) > MAX_CHALLENGE_PASSWORD:
        raise _malformed(f"The challengePassword has {len(octets)} bytes: send at most {MAX_CHALLENGE_PASSWORD}.")
    # Some clients take it from a line of text together with the line's end.
    return password.removesuffix("\n").removesuffix("\r")


def _subject_change(value: bytes, public_key_info: bytes) -> SubjectChange:
    with _library("The attribute ChangeSubjectName cannot be read: it must hold a subject, a subjectAlt, or both."):
        carrier = subject_change.carrier(value, public_key_info)
    change = SubjectChange(*_names(carrier))
    if not list(change.subject) and change.alternative is None:
        raise _malformed("The attribute ChangeSubjectName leaves no name: give it a subject, a subjectAlt, or both.")
    return change


def _names(request: x509.CertificateSigningRequest) -> tuple[x509.Name, x509.SubjectAlternativeName | None]:
    """Return the subject and the SubjectAltName of a request, within bounds."""
    with _library("The subject of the request cannot be read: check the types and characters of its attributes."):
        subject = request.subject
        parts = list(subject)
    if len(parts) > MAX_SUBJECT_PARTS or sum(len(part.value) for part in parts) > MAX_SUBJECT_TEXT:
        raise _malformed(
            f"The subject is too long: use at most {MAX_SUBJECT_PARTS} attributes and {MAX_SUBJECT_TEXT} characters."
        )
    _check_values(subject)
    with _library("The extensions asked for cannot be read: check their encoding and that none occurs twice."):
        extensions = request.extensions
    try:
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return subject, None
    if not 1 <= len(list(alternative)) <= MAX_ALTERNATIVE_NAMES:
        raise _malformed(f"The subjectAltName must hold 1 to {MAX_ALTERNATIVE_NAMES} names.")
    for name in alternative:
        _check_name(name)
    return subject, alternative


def _check_values(name: x509.Name) -> None:
    """Refuse values that are not text, or text that nobody writes (RFC 5280 §4.1.2.4, §4.1.2.6, App. A.1).

    OpenSSL cannot read a certificate that has another type in a name.
    """
    for part in name:
        attribute = part.rfc4514_attribute_name
        if _tag(part) not in _TEXT:
            raise _malformed(f"The attribute {attribute} in a name is not text: encode it as UTF8String.")
        if not part.value:
            raise _malformed(f"The attribute {attribute} in a name is empty: give it a value or leave it out.")
        if isinstance(part.value, str) and any(unicodedata.category(character) == "Cc" for character in part.value):
            raise _malformed(f"The attribute {attribute} in a name holds control characters: leave them out.")


def _tag(part: x509.NameAttribute[str | bytes]) -> int:
    """Return the first octet of a value, which cryptography tells in no other way."""
    element = x509.Name([part]).public_bytes()
    for _ in ("Name", "RelativeDistinguishedName", "AttributeTypeAndValue"):
        element = elements.content(element)
    return element[2 + element[1]]  # after the OID, whose length takes one octet


def _check_name(name: x509.GeneralName) -> None:
    """Refuse what no such name can be (RFC 5280 §4.2.1.6): programs that read C strings stop at a NUL, for one."""
    match name:
        case x509.DNSName() | x509.RFC822Name() | x509.UniformResourceIdentifier() if not _PLAIN.fullmatch(name.value):
            raise _malformed(
                "A DNS, email or URI name in the subjectAltName is empty or holds blanks, control or non-ASCII"
                " characters: write it in plain ASCII, other letters in the form that IDNA gives them (xn--...)."
            )
        case x509.DirectoryName():
            _check_values(name.value)
        case x509.IPAddress(value=ipaddress.IPv4Network() | ipaddress.IPv6Network()):
            raise _malformed(
                "An IP name in the subjectAltName is a range of addresses: ask for each address by itself."
            )


@contextmanager
def _library(text: str) -> Iterator[None]:
    """Turn whatever a library says about the client's bytes into MALFORMED with our text.

    Any Exception, because the libraries' own lists are open: ValueError, TypeError, KeyError, UnsupportedAlgorithm,
    InvalidVersion, DuplicateExtension, PyAsn1Error and RecursionError have been seen. Their warnings (a country of
    three letters) are about names that are the CA's to judge.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RequestError:
        raise
    except Exception as error:
        raise _malformed(text, _cause(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        # A panic in cryptography's Rust, which pyo3 keeps out of Exception; no class of it can be imported.
        raise _malformed(text, "cryptography panicked") from error


def _cause(error: Exception) -> str:
    """Tell the log what it may know: pyasn1's messages hold whole schemas, UnicodeError's the client's bytes."""
    plain = isinstance(error, (ValueError, UnsupportedAlgorithm)) and not isinstance(error, UnicodeError)
    return f"{type(error).__name__}: {str(error)[:200]}" if plain else type(error).__name__


def _malformed(text: str, cause: str = "") -> RequestError:
    return RequestError(Kind.MALFORMED, text, cause)
