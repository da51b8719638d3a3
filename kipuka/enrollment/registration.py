"""The registration authority of one label: every request is written down, joined by its repetitions, and answered once.

The client's own task only waits. Submitting runs on its own, so that a client which goes away costs nothing and loses
nothing: the CA's answer is written into the ledger whether anybody still waits for it or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from kipuka.authority.interface import (
    CertificateStatus,
    ChangesNames,
    EnrollmentRequest,
    KnowsStatus,
    Names,
)
from kipuka.enrollment.ledger.application import Applicant, application
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.enrollment.submission import Submitter, undecided
from kipuka.errors import AuthorityError, Kind, RequestError
from kipuka.store.rows import Application, Enrollment, State
from kipuka.store.store import StoreUnavailable

__all__ = ["Answered", "Applicant", "Names", "Registration", "Times"]


@dataclass(frozen=True)
class Times:
    """How long clients are kept waiting, in seconds.

    :param approval: for an agent's approval, before 202.
    :param answer: for a CA's answer that was lost or is being fetched by another process, before 503; all such waits of
        one request together.
    :param replay: how long the same request gets the same certificate again.
    """

    approval: float = 300
    answer: float = 60
    replay: float = 600


@dataclass(frozen=True)
class Answered:
    """What came of a request.

    :param certificate: None when the request still waits for approval.
    :param written: to be called when the answer has gone out to the client.
    """

    enrollment: Enrollment
    certificate: x509.Certificate | None
    written: Callable[[], None]


class Registration:
    """Takes checked requests to the label's CA, once.

    :param submitter: submits to the label's CA.
    :param profile: the label's profile; None leaves the choice to the CA.
    """

    def __init__(
        self,
        submitter: Submitter,
        ledger: Ledger,
        times: Times,
        *,
        label: str | None = None,
        profile: str | None = None,
    ) -> None:
        self._submitter = submitter
        self._authority = submitter.authority
        self._ledger = ledger
        self._times = times
        self._label = label
        self._profile = profile

    async def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """What /cacerts serves (RFC 7030 §4.1.3).

        :raises AuthorityError: when no copy is to be had.
        """
        return await self._authority.chain()

    async def enroll(
        self, csr: x509.CertificateSigningRequest, caller: Applicant, names: Names | None = None
    ) -> Answered:
        """Ask for a certificate (RFC 7030 §4.2.1).

        :raises RequestError: when the CA cannot change names and the request asks for it.
        :raises AuthorityError: refused, or in trouble.
        """
        return await self._answer(EnrollmentRequest(csr, self._profile, caller.name, names), caller, "simpleenroll")

    async def renew(
        self,
        certificate: x509.Certificate,
        csr: x509.CertificateSigningRequest,
        caller: Applicant,
        names: Names | None = None,
    ) -> Answered:
        """Ask for the successor of a certificate, same key or another (RFC 7030 §4.2.2).

        While the CA cannot say how the certificate stands nothing is submitted, but what was submitted when it could
        is answered as ever.

        :raises RequestError: when the certificate is not this label's CA's, or revoked.
        :raises AuthorityError: refused, or in trouble.
        """
        doubt = None
        try:
            await self._must_be_own(certificate)
            await self._must_be_good(certificate)
        except AuthorityError as trouble:
            doubt = trouble
        request = EnrollmentRequest(csr, self._profile, caller.name, names, renews=certificate)
        return await self._answer(request, caller, "simplereenroll", doubt)

    async def _answer(
        self, request: EnrollmentRequest, caller: Applicant, operation: str, doubt: AuthorityError | None = None
    ) -> Answered:
        """Join the row of the request, and answer from it.

        :param doubt: why nothing may be submitted.
        """
        if request.names is not None and not isinstance(self._authority, ChangesNames):
            raise RequestError(
                Kind.FORBIDDEN,
                "This CA issues for the names in the CSR only: leave the ChangeSubjectName attribute out.",
            )
        wanted = application(request, caller, operation=operation, label=self._label, ca_id=self._authority.id)
        try:
            row = await self._join(wanted, doubt)
            return await self._follow(row, request, caller, doubt)
        except StoreUnavailable as trouble:
            raise AuthorityError(
                Kind.UNREACHABLE, "The server cannot write requests down at the moment: try again later.", str(trouble)
            ) from trouble

    async def _join(self, wanted: Application, doubt: AuthorityError | None) -> Enrollment:
        if doubt is None:
            return await self._ledger.join(wanted, self._times.replay)
        row = await self._ledger.find(wanted, self._times.replay)
        if row is None:
            raise doubt
        return row

    async def _follow(
        self, row: Enrollment, request: EnrollmentRequest, caller: Applicant, doubt: AuthorityError | None
    ) -> Answered:
        """Go with the row until there is something to tell the client."""
        fresh = False  # whether this very call saw the certificate come
        until: datetime | None = None  # one time for all waits: a CA may lose the request again and again
        while True:
            match row.state:
                case State.RECEIVED:
                    if doubt is not None:
                        raise doubt
                    row = await self._submitter.submit(row, request, caller.origin)
                    fresh = True
                case State.SUBMITTING | State.UNKNOWN:
                    until = until or self._ledger.now() + timedelta(seconds=self._times.answer)
                    row = await self._changed(row, until)
                case State.PENDING:
                    latest = await self._ledger.changed(row, self._times.approval)
                    if latest.state is State.PENDING:
                        return Answered(latest, None, lambda: None)
                    row, fresh = latest, True
                case State.ISSUED | State.DELIVERED:
                    certificate = x509.load_der_x509_certificate(row.certificate or b"")
                    if fresh or not (self._is_over(certificate, request) or await self._is_revoked(certificate)):
                        return Answered(row, certificate, self._delivery(row))
                    await self._ledger.happen(Event.OUTDATED, row)
                    row = await self._join(row.application, doubt)
                case State.REJECTED:
                    refusal = AuthorityError(Kind.REFUSED, row.reason or "The CA refused the request.")
                    refusal.written = partial(self._submitter.note, Event.TOLD, row)
                    raise refusal
                case State.CLOSED:
                    raise AuthorityError(
                        Kind.REFUSED, row.reason or "The request was ended by the administrator: ask again if need be."
                    )

    async def _changed(self, row: Enrollment, until: datetime) -> Enrollment:
        latest = await self._ledger.changed(row, max(0.0, (until - self._ledger.now()).total_seconds()))
        if latest.state is row.state:
            raise undecided()
        return latest

    def _delivery(self, row: Enrollment) -> Callable[[], None]:
        """What writes down that the certificate is out; the first time counts."""

        def note() -> None:
            if row.state is State.ISSUED:
                self._submitter.note(Event.WRITTEN, row, delivered=self._ledger.now())

        return note

    def _is_over(self, certificate: x509.Certificate, request: EnrollmentRequest) -> bool:
        """Whether it has expired, or is the very one to be renewed: whoever shows it has had it."""
        return certificate == request.renews or certificate.not_valid_after_utc <= self._ledger.now()

    async def _is_revoked(self, certificate: x509.Certificate) -> bool:
        """Whether the CA has withdrawn it. While it cannot say, its own holder may have it again all the same."""
        if not isinstance(self._authority, KnowsStatus):
            return False
        try:
            return await self._authority.status(certificate) is CertificateStatus.REVOKED
        except AuthorityError:
            return False

    async def _must_be_own(self, certificate: x509.Certificate) -> None:
        chain = await self._authority.chain()
        # Those of its name are its own of another time or key (a root's roll-over); others are the CAs above it.
        for issuer in (each for each in chain if each.subject == chain[0].subject):
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
