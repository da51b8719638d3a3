"""What makes two requests the same request: a client that was told to wait sends its own again (RFC 7030 §4.2.3).

Not when their bytes are equal: with proof of possession every repetition carries a new signature. The same caller,
asking for the same operation on the same label, for the same public key, the same names and the same extensions, asks
for the same thing, in whichever order a device writes names and uses down.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kipuka.authority.interface import EnrollmentRequest
from kipuka.enrollment.audit import NOWHERE
from kipuka.observe.audit.record import Origin
from kipuka.store.rows import Application


@dataclass(frozen=True)
class Applicant:
    """Who asks.

    :param name: for people, in the log and at the CA.
    :param identity: for the ledger: no two applicants share one, and nobody's changes with a new certificate.
    :param origin: where the request came from, for the audit.
    """

    name: str
    identity: str
    origin: Origin = NOWHERE


def application(
    request: EnrollmentRequest, caller: Applicant, *, operation: str, label: str | None, ca_id: str
) -> Application:
    """Describe a request for the ledger. Another caller with the same CSR asks for something of its own."""
    subject, alternative = _names(request)
    public_key = _public_key(request.csr)
    parts = (
        caller.identity.encode(),
        operation.encode(),
        (label or "").encode(),
        public_key,
        subject.public_bytes(),
        alternative,
        *_extensions(request.csr),
    )
    # Every part is preceded by its length, so that no two different lists of parts read the same.
    text = b"".join(len(part).to_bytes(4) + part for part in parts)
    return Application(
        key=hashlib.sha256(text).hexdigest(),
        caller=caller.name,
        operation=operation,
        label=label,
        ca_id=ca_id,
        profile=request.profile,
        public_key=hashlib.sha256(public_key).hexdigest(),
        subject=subject.rfc4514_string(),
    )


def carries_key(certificate: x509.Certificate, wanted: Application) -> bool:
    """Tell whether the certificate is for the public key that was asked for."""
    return hashlib.sha256(_public_key(certificate)).hexdigest() == wanted.public_key


def _public_key(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _extensions(csr: x509.CertificateSigningRequest) -> list[bytes]:
    """What is asked for besides names: a certificate for another use is no answer. None in most requests."""
    return sorted(
        each.oid.dotted_string.encode() + (b"!" if each.critical else b":") + _in_order(each.value)
        for each in csr.extensions
        if each.oid != x509.SubjectAlternativeName.oid
    )


def _names(request: EnrollmentRequest) -> tuple[x509.Name, bytes]:
    """The names the certificate is to carry."""
    if request.names is not None:
        alternative = request.names.alternative
        return request.names.subject, b"" if alternative is None else _in_order(alternative)
    try:
        san = request.csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return request.csr.subject, b""
    return request.csr.subject, _in_order(san)


def _in_order(value: x509.ExtensionType) -> bytes:
    """The DER, with what has no order of its own sorted: some devices ask for it in another one each time.

    One name or use reads as it is: rows of a ledger outlive a release.
    """
    match value:
        case x509.SubjectAlternativeName():
            value = x509.SubjectAlternativeName(
                sorted(value, key=lambda name: x509.SubjectAlternativeName([name]).public_bytes())
            )
        case x509.ExtendedKeyUsage():
            value = x509.ExtendedKeyUsage(sorted(value, key=lambda use: use.dotted_string))
    return value.public_bytes()
