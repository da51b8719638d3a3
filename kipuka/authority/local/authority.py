"""The file CA: signs with a key in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.interface import Absent, CertificateStatus, EnrollmentRequest, Finding, Issued, Outcome
from kipuka.authority.local import profile
from kipuka.authority.local.book import InBook
from kipuka.authority.local.revocation import Revocation
from kipuka.authority.local.signing import authority_key_identifier, digest, key_hash
from kipuka.authority.revoking import Reason, Revoked, Standing
from kipuka.errors import AuthorityError, Kind

_BACKDATED = timedelta(minutes=5)
"""How far certificates start in the past: device clocks are not exact."""
_INVALID = "The signature of the certificate request is not good: make the CSR anew with the key it names."


class LocalAuthority:
    """A CA that issues at once, and keeps a book of what it issued, for revocation.

    :param certificate: the CA's own.
    :param chain: what leads from it to its root, in that order; the CA's own certificate among it does no harm.
    :param validity_days: life of a certificate; never beyond the CA's own.
    :param in_book: where it writes down what it issues and revokes.
    :param serial: gives a fresh serial number; 159 random bits unless told (RFC 5280 §4.1.2.2 allows 160).
    :raises AuthorityError: MISCONFIGURED, when the certificate is no CA's or the key is not its own.
    """

    changes_names = True

    def __init__(
        self,
        id: str,  # noqa: A002 - the interface's word
        certificate: x509.Certificate,
        key: CertificateIssuerPrivateKeyTypes,
        chain: Sequence[x509.Certificate],
        validity_days: int,
        clock: IReactorTime,
        in_book: InBook,
        serial: Callable[[], int] = x509.random_serial_number,
    ) -> None:
        if key.public_key() != certificate.public_key():
            raise _misconfigured("the CA's private key is not that of its certificate")
        _must_be_ca(certificate)
        self._id = id
        self._certificate = certificate
        self._key = key
        self._chain = (certificate, *(each for each in chain if each != certificate))
        self._validity = timedelta(days=validity_days)
        self._clock = clock
        self._serial = serial
        self.revocation = Revocation(id, certificate, key, in_book, clock)
        self._in_book = in_book
        self._key_hash = key_hash(certificate)
        self._issuer_key = authority_key_identifier(certificate)

    @property
    def id(self) -> str:
        """The ``[[ca]] id`` of the configuration."""
        return self._id

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificate and what leads to its root."""
        return self._chain

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Issue for the names in the CSR, or those the request gives instead; a re-enrollment is no different.

        What is not written down is not handed out.

        :raises AuthorityError: REFUSED or INVALID by :mod:`kipuka.authority.local.profile`; MISCONFIGURED, when a
            profile is asked for or the CA has expired; UNREACHABLE, when the book cannot be had now.
        """
        if request.profile is not None:
            raise _misconfigured(f"a file CA has no profiles, and not {request.profile!r}")
        _must_be_signed(request.csr)
        asked = profile.requested(request.csr).get(x509.SubjectAlternativeName.oid)
        subject, alternative = request.csr.subject, asked if isinstance(asked, x509.SubjectAlternativeName) else None
        if request.names is not None:
            subject, alternative = request.names.subject, request.names.alternative
        certificate = self._sign(request.csr, subject, profile.extensions(request.csr, subject, alternative))
        await self._in_book(
            lambda book: book.add(
                self._key_hash, certificate.serial_number, subject.rfc4514_string(), certificate.not_valid_after_utc
            )
        )
        return Issued(certificate)

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        """Look it up in the book. What the CA's key has signed elsewhere is not in it, and good.

        :raises AuthorityError: the book cannot be had now.
        """
        standing = await self.owns(certificate.serial_number)
        return CertificateStatus.GOOD if standing is None or standing.reason is None else CertificateStatus.REVOKED

    async def owns(self, serial: int) -> Standing | None:
        """Return how a certificate stands; None when none of this number is in the book.

        :raises AuthorityError: the book cannot be had now.
        """
        return await self.revocation.owns(serial)

    async def standings(self, certificates: Iterable[x509.Certificate]) -> dict[x509.Certificate, Standing]:
        """Return how those of the certificates stand that bear the CA's name and are in its book.

        :raises AuthorityError: the book cannot be had now.
        """
        own = {each.serial_number: each for each in certificates if _issuer(each) == self._certificate.subject}
        found = await self.revocation.standings(own) if own else {}
        return {own[serial]: standing for serial, standing in found.items()}

    async def revoke(self, serial: int, reason: Reason) -> Revoked:
        """Withdraw a certificate and publish the CRL that says so.

        :raises AuthorityError: there is none, it cannot be released, or the book cannot be had now.
        """
        return await self.revocation.revoke(serial, reason)

    async def probe(self) -> None:
        """Check that the CA could issue now; key and certificate are known to fit since the start.

        :raises AuthorityError: MISCONFIGURED: the CA's certificate has expired, or is not valid yet.
        """
        self._period()

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Return Absent: what was issued and not handed over is known to nobody, and may be issued again."""
        del public_key, subject, since, known
        return Absent()

    async def close(self) -> None:
        """Nothing is open."""

    def _sign(
        self, csr: x509.CertificateSigningRequest, subject: x509.Name, extensions: list[profile.Extension]
    ) -> x509.Certificate:
        not_before, not_after = self._period()
        builder = x509.CertificateBuilder(self._certificate.subject, subject, csr.public_key(), self._serial())
        builder = builder.not_valid_before(not_before).not_valid_after(not_after)
        builder = builder.add_extension(self._issuer_key, critical=False)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        return builder.sign(self._key, digest(self._key))

    def _period(self) -> tuple[datetime, datetime]:
        """Return from when to when: never beyond the CA's own life, where verifiers disagree."""
        now = datetime.fromtimestamp(int(self._clock.seconds()), UTC)
        not_after = min(now + self._validity, self._certificate.not_valid_after_utc)
        if not_after <= now:
            raise _misconfigured(f"the CA certificate expired at {not_after}")
        if self._certificate.not_valid_before_utc > now:
            raise _misconfigured(f"the CA certificate is not valid before {self._certificate.not_valid_before_utc}")
        return max(now - _BACKDATED, self._certificate.not_valid_before_utc), not_after


def _issuer(certificate: x509.Certificate) -> x509.Name | None:
    """Return the issuer's name; None for one that cryptography cannot read, as no file CA has it."""
    try:
        return certificate.issuer
    except ValueError:
        return None


def _must_be_ca(certificate: x509.Certificate) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise _misconfigured("the CA's certificate has no basic constraints") from None
    if not constraints.ca:
        raise _misconfigured("the CA's certificate is not one of a CA")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise _misconfigured("the CA's certificate may not sign certificates")


def _must_be_signed(csr: x509.CertificateSigningRequest) -> None:
    try:
        good = csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError(Kind.INVALID, _INVALID, str(error)[:200]) from None
    if not good:
        raise AuthorityError(Kind.INVALID, _INVALID)


def _misconfigured(cause: str) -> AuthorityError:
    return AuthorityError(
        Kind.MISCONFIGURED,
        "The CA cannot issue as it is set up: tell the administrator, who finds why in the log.",
        cause,
    )
