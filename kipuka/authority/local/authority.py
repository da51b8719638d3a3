"""The file CA: signs with a key in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.interface import Absent, EnrollmentRequest, Finding, Issued, Outcome
from kipuka.authority.local import profile
from kipuka.errors import AuthorityError, Kind

_BACKDATED = timedelta(minutes=5)
"""How far certificates start in the past: device clocks are not exact."""
_INVALID = "The signature of the certificate request is not good: make the CSR anew with the key it names."


class LocalAuthority:
    """A CA that issues at once and keeps no record: it has no word on the status of what it issued.

    :param certificate: the CA's own.
    :param chain: what leads from it to its root, in that order; the CA's own certificate among it does no harm.
    :param validity_days: life of a certificate; never beyond the CA's own.
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
        self._issuer_key = _authority_key_identifier(certificate)

    @property
    def id(self) -> str:
        """The ``[[ca]] id`` of the configuration."""
        return self._id

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificate and what leads to its root."""
        return self._chain

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Issue for the names in the CSR, or those the request gives instead; a re-enrollment is no different.

        :raises AuthorityError: REFUSED or INVALID by :mod:`kipuka.authority.local.profile`; MISCONFIGURED, when a
            profile is asked for or the CA has expired.
        """
        if request.profile is not None:
            raise _misconfigured(f"a file CA has no profiles, and not {request.profile!r}")
        _must_be_signed(request.csr)
        asked = profile.requested(request.csr).get(x509.SubjectAlternativeName.oid)
        subject, alternative = request.csr.subject, asked if isinstance(asked, x509.SubjectAlternativeName) else None
        if request.names is not None:
            subject, alternative = request.names.subject, request.names.alternative
        return Issued(self._sign(request.csr, subject, profile.extensions(request.csr, subject, alternative)))

    async def probe(self) -> None:
        """Check that the CA could issue now; key and certificate are known to fit since the start.

        :raises AuthorityError: MISCONFIGURED: the CA's certificate has expired, or is not valid yet.
        """
        self._period()

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Return Absent: nothing is kept, and so what was issued and not handed over is nowhere."""
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
        return builder.sign(self._key, _hash(self._key))

    def _period(self) -> tuple[datetime, datetime]:
        """Return from when to when: never beyond the CA's own life, where verifiers disagree."""
        now = datetime.fromtimestamp(int(self._clock.seconds()), UTC)
        not_after = min(now + self._validity, self._certificate.not_valid_after_utc)
        if not_after <= now:
            raise _misconfigured(f"the CA certificate expired at {not_after}")
        if self._certificate.not_valid_before_utc > now:
            raise _misconfigured(f"the CA certificate is not valid before {self._certificate.not_valid_before_utc}")
        return max(now - _BACKDATED, self._certificate.not_valid_before_utc), not_after


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


def _authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the issuer's own identifier where it has one (RFC 5280 §4.2.1.1), however that was made."""
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _hash(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """Return a digest as strong as the key; Ed25519 and Ed448 bring their own."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 384:
        return hashes.SHA512()
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def _misconfigured(cause: str) -> AuthorityError:
    return AuthorityError(
        Kind.MISCONFIGURED,
        "The CA cannot issue as it is set up: tell the administrator, who finds why in the log.",
        cause,
    )
