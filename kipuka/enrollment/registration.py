"""The registration authority of one label: which CA, which profile, and what must hold for every certificate."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kipuka.authority.interface import (
    Authority,
    CertificateStatus,
    ChangesNames,
    EnrollmentRequest,
    Issued,
    KnowsStatus,
    Names,
    Outcome,
    Pending,
)
from kipuka.errors import AuthorityError, Kind, RequestError

__all__ = ["Issued", "Names", "Outcome", "Pending", "Registration"]


class Registration:
    """Takes checked requests to the label's CA.

    :param authority: the CA, or a pool of them.
    :param profile: the label's profile; None leaves the choice to the CA.
    """

    def __init__(self, authority: Authority, profile: str | None) -> None:
        self._authority = authority
        self._profile = profile

    @property
    def ca_id(self) -> str:
        """The CA's id, for the audit."""
        return self._authority.id

    async def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """What /cacerts serves (RFC 7030 §4.1.3).

        :raises AuthorityError: when no copy is to be had.
        """
        return await self._authority.chain()

    async def enroll(self, csr: x509.CertificateSigningRequest, requestor: str, names: Names | None = None) -> Outcome:
        """Ask for a certificate (RFC 7030 §4.2.1).

        :raises RequestError: when the CA cannot change names and the request asks for it.
        :raises AuthorityError: refused, or in trouble.
        """
        return await self._submit(EnrollmentRequest(csr, self._profile, requestor, names))

    async def renew(
        self,
        certificate: x509.Certificate,
        csr: x509.CertificateSigningRequest,
        requestor: str,
        names: Names | None = None,
    ) -> Outcome:
        """Ask for the successor of a certificate, same key or another (RFC 7030 §4.2.2).

        :raises RequestError: when the certificate is not this label's CA's, or revoked.
        :raises AuthorityError: refused, or in trouble.
        """
        await self._must_be_own(certificate)
        await self._must_be_good(certificate)
        return await self._submit(EnrollmentRequest(csr, self._profile, requestor, names, renews=certificate))

    async def _must_be_own(self, certificate: x509.Certificate) -> None:
        for issuer in await self._authority.chain():
            try:
                certificate.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return
        raise RequestError(
            Kind.FORBIDDEN,
            "The client certificate was not issued by this label's CA and cannot be renewed here: use simpleenroll.",
        )

    async def _must_be_good(self, certificate: x509.Certificate) -> None:
        if not isinstance(self._authority, KnowsStatus):
            return
        status = await self._authority.status(certificate)
        if status is not CertificateStatus.GOOD:
            raise RequestError(
                Kind.FORBIDDEN,
                f"The client certificate is {status.value} at the CA and cannot be renewed: ask its administrator.",
            )

    async def _submit(self, request: EnrollmentRequest) -> Outcome:
        if request.names is not None and not isinstance(self._authority, ChangesNames):
            raise RequestError(
                Kind.FORBIDDEN,
                "This CA issues for the names in the CSR only: leave the ChangeSubjectName attribute out.",
            )
        outcome = await self._authority.enroll(request)
        if isinstance(outcome, Issued) and _key(outcome.certificate) != _key(request.csr):
            raise AuthorityError(
                Kind.BAD_ANSWER,
                "The CA answered with a certificate for another key: tell the administrator.",
                f"serial 0x{outcome.certificate.serial_number:x} does not carry the CSR's public key",
            )
        return outcome


def _key(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
