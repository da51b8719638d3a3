"""What a re-enrollment must have in common with the certificate it renews (RFC 7030 §4.2.2)."""

from __future__ import annotations

from cryptography import x509

from kipuka.errors import Kind, RequestError
from kipuka.est.csr import CertificationRequest


def check(request: CertificationRequest, certificate: x509.Certificate) -> None:
    """Check that the CSR's own subject and SubjectAltName are the certificate's, as DER.

    That is so with a ChangeSubjectName attribute too: the CSR still names the holder, the attribute the new names
    (RFC 6402 §2.8). Two absent SubjectAltNames are equal; criticality is not part of the name.

    :raises RequestError: FORBIDDEN, saying which of the two differs.
    """
    try:
        subject = certificate.subject.public_bytes()
        alternative = _alternative(certificate)
    except (ValueError, TypeError, KeyError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _refused(
            "The names in the client certificate cannot be read, so it cannot be renewed: enroll anew instead.",
            type(error).__name__,
        ) from error
    if request.subject.public_bytes() != subject:
        raise _refused(
            "The subject of the request is not that of the certificate to renew: copy the certificate's subject,"
            " with the same attributes, order and string types."
        )
    asked = None if request.alternative is None else request.alternative.public_bytes()
    if asked != alternative:
        if asked is None:
            advice = "the certificate has one and the request has none: copy it into the request."
        elif alternative is None:
            advice = "the request has one and the certificate has none: leave it out."
        else:
            advice = "copy the certificate's names exactly and in the same order."
        raise _refused(f"The subjectAltName of the request is not that of the certificate to renew; {advice}")


def _alternative(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.public_bytes()
    except x509.ExtensionNotFound:
        return None


def _refused(text: str, cause: str = "") -> RequestError:
    return RequestError(Kind.FORBIDDEN, text, cause)
