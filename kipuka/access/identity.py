"""Who is calling: the client certificate of the TLS handshake, the HTTP user, or both (RFC 7030 §3.2.3, §3.3.2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from kipuka.errors import Kind, RequestError


@dataclass(frozen=True)
class Caller:
    """The other end of a request, as far as it has shown who it is.

    :param certificate: the certificate it proved to own in the handshake, which has been checked there.
    :param user: the name whose password it gave; None without HTTP authentication, "" for a secret without a name.
    :param address: IP address, for the log.
    :param issuers: the CAs above the certificate, up to the trust anchor, as the handshake has found them.
    """

    certificate: x509.Certificate | None = field(repr=False)
    user: str | None
    address: str
    issuers: tuple[x509.Certificate, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        r"""The caller in one line of printable text: ``user:alice``, ``certificate:CN=dev1``, both, or ``anonymous``.

        Different callers have different names: in a user's name ``\``, ``+`` and unprintable characters are escaped as
        RFC 4514 does it in subjects, and a certificate without a subject goes by its fingerprint.

        :raises RequestError: when the certificate's subject cannot be read.
        """
        parts = []
        if self.user is not None:
            escaped = self.user.replace("\\", "\\\\").replace("+", "\\+")
            parts.append(f"user:{_printable(escaped)}")
        if self.certificate is not None:
            subject = subject_text(self.certificate) or f"sha256={self.certificate.fingerprint(hashes.SHA256()).hex()}"
            parts.append(f"certificate:{_printable(subject)}")
        return "+".join(parts) or "anonymous"

    @property
    def identity(self) -> str:
        """The name, and with it the issuer of the certificate: two CAs may have certified the same subject.

        :raises RequestError: when a name in the certificate cannot be read.
        """
        if self.certificate is None:
            return self.name
        return f"{self.name} issued by {issuer(self.certificate).public_bytes().hex()}"

    @property
    def common_name(self) -> str | None:
        """The certificate's common name, if there is exactly one.

        :raises RequestError: when the certificate's subject cannot be read.
        """
        if self.certificate is None:
            return None
        match subject(self.certificate).get_attributes_for_oid(NameOID.COMMON_NAME):
            case [attribute]:
                return str(attribute.value) or None
            case _:
                return None


def subject(certificate: x509.Certificate) -> x509.Name:
    """Return the subject of a client certificate.

    :raises RequestError: FORBIDDEN, when it is encoded in a way that OpenSSL accepts and cryptography does not.
    """
    return _read(
        lambda: certificate.subject, "The subject of the client certificate cannot be read: use another certificate."
    )


def issuer(certificate: x509.Certificate) -> x509.Name:
    """Return the issuer of a client certificate.

    :raises RequestError: FORBIDDEN, as for the subject.
    """
    return _read(
        lambda: certificate.issuer, "The issuer of the client certificate cannot be read: use another certificate."
    )


def subject_text(certificate: x509.Certificate) -> str:
    """Return the subject as RFC 4514 text, for example ``CN=dev1,O=Example``.

    :raises RequestError: see :func:`subject`.
    """
    return subject(certificate).rfc4514_string()


def _read(name: Callable[[], x509.Name], text: str) -> x509.Name:
    try:
        with warnings.catch_warnings():  # about lengths of attributes, which are the issuer's business
            warnings.simplefilter("ignore")
            return name()
    except (ValueError, TypeError, KeyError) as error:
        raise RequestError(Kind.FORBIDDEN, text, type(error).__name__) from error


def _printable(text: str) -> str:
    r"""Escape what is not printable as ``\`` and two hexadecimal digits per byte of UTF-8 (RFC 4514 §2.4)."""
    return "".join(
        character
        if character.isprintable()
        else "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        for character in text
    )
