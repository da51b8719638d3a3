"""What every CA implements, and the small optional capabilities some of them have.

A CA that is asked for something either answers with one of the values below or raises
:class:`kipuka.errors.AuthorityError`. Its kind tells a refusal from trouble, and "certainly not sent" from "answer
lost".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from cryptography import x509


@dataclass(frozen=True)
class Names:
    """The names a certificate is to carry when they are not those of the CSR (ChangeSubjectName, RFC 6402 §2.8)."""

    subject: x509.Name
    alternative: x509.SubjectAlternativeName | None


@dataclass(frozen=True)
class EnrollmentRequest:
    """One certificate asked for, after every check of kipuka's own has passed.

    :param csr: the PKCS#10 request as the client sent it: an RA does not change it (RFC 5272 §7).
    :param profile: the CA's certificate profile; None means the CA's own default.
    :param requestor: who asks, in words for the CA's operators.
    :param names: set when the certificate is to carry other names than the CSR.
    :param renews: the certificate this one follows, when the operation was a re-enrollment.
    """

    csr: x509.CertificateSigningRequest
    profile: str | None
    requestor: str
    names: Names | None = None
    renews: x509.Certificate | None = None


@dataclass(frozen=True)
class Issued:
    """The CA issued."""

    certificate: x509.Certificate


@dataclass(frozen=True)
class Pending:
    """The CA has the request and waits for a person.

    :param request_id: the CA's own number for it, as text.
    """

    request_id: str


Outcome = Issued | Pending


class CertificateStatus(Enum):
    """What the CA says of a certificate it issued."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class Authority(Protocol):
    """A CA, or something that behaves as one (a pool)."""

    @property
    def id(self) -> str:
        """The ``[[ca]] id`` of the configuration."""

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """The CA certificate first, then whatever leads to its root, the root included.

        :raises AuthorityError: when no copy is to be had.
        """

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Ask for one certificate.

        :raises AuthorityError: refused, or in trouble; see :class:`kipuka.errors.Kind`.
        """

    async def close(self) -> None:
        """Give connections and keys back."""


@runtime_checkable
class ChangesNames(Protocol):
    """A CA that issues for :attr:`EnrollmentRequest.names` instead of the names in the CSR."""

    changes_names: bool


@runtime_checkable
class KnowsStatus(Protocol):
    """A CA that can be asked whether a certificate of its own is still good."""

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        """Ask the authoritative source, not a CRL.

        :raises AuthorityError: when the CA cannot say now.
        """
