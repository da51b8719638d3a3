"""Dogtag as a CA of kipuka."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IPolicyForHTTPS

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.cached import Cached
from kipuka.authority.dogtag.chain import Chain, Keeper
from kipuka.authority.dogtag.lookup import Lookup
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.calls import Calls, Observe, nobody
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.rest.paths import Operation, Paths
from kipuka.authority.dogtag.revocation import Revocation
from kipuka.authority.dogtag.tracking import Tracking
from kipuka.authority.interface import (
    CertificateStatus,
    EnrollmentRequest,
    Finding,
    Issued,
    Outcome,
    Pending,
    PendingRequests,
    Progress,
)
from kipuka.authority.revoking import Reason, Revoked, Standing
from kipuka.errors import AuthorityError, Kind

BODY_LIMIT = 18 * 1024
"""Bytes of a request's body. Dogtag 10.x leaves about half of the requests over 20 KiB unanswered, headers included:
docs/dogtag-notes.md."""

_STATUS = {
    "VALID": CertificateStatus.GOOD,
    # Of time the caller knows as much: status answers whether the CA has withdrawn the certificate.
    "INVALID": CertificateStatus.GOOD,
    "EXPIRED": CertificateStatus.GOOD,
    "REVOKED": CertificateStatus.REVOKED,
    "REVOKED_EXPIRED": CertificateStatus.REVOKED,
}
# Kinds after which the form of the profile may have been the trouble.
_DOUBTS_FORM = {Kind.INVALID, Kind.MISCONFIGURED, Kind.BAD_ANSWER}


class DogtagAuthority:
    """One Dogtag CA: its chain, enrollment by profile, and the status of its certificates.

    An enrollment takes two calls, submission and a look at what came of it, and no login: the agent certificate on
    the connection authenticates each call. A re-enrollment is an enrollment (see docs/dogtag-notes.md for why).

    :param id: the ``[[ca]] id``.
    :param profile: the profile for requests that name none.
    :param cache_ttl: seconds the chain is kept; 0 asks each time. An older chain serves while the CA is away.
    :param trust: what a chain from the keeper must lead to, see :func:`kipuka.authority.dogtag.chain.checked`.
    :param keeper: where the chain outlives the process.
    :param observe: for the metrics; a call that is repeated because its connection had died counts once.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the interface's word
        client: Client,
        profile: str,
        *,
        clock: IReactorTime,
        cache_ttl: float = 3600.0,
        paths: Paths | None = None,
        trust: Sequence[x509.Certificate] = (),
        keeper: Keeper | None = None,
        observe: Observe = nobody,
    ) -> None:
        self._id = id
        self._client = client
        self._profile = profile
        self._clock = clock
        paths = paths or Paths()
        self._call = Calls(client, paths, clock, observe)
        self._chain = Chain(id, self._call, clock, cache_ttl, trust, keeper)
        self._serial: int | None = None
        self._templates: dict[str, Cached[wire.Template]] = {}
        self._tracking = Tracking(self._call)
        self._lookup = Lookup(self._call, clock)
        in_session = Calls(client.in_session_of_its_own(), paths, clock, observe)
        self._revocation = Revocation(in_session, clock, client.timeout)

    @classmethod
    def open(
        cls,
        reactor: Any,
        *,
        id: str,  # noqa: A002 - the interface's word
        url: str,
        policy: IPolicyForHTTPS,
        profile: str,
        timeout: float = 30.0,
        max_connections: int = 8,
        cache_ttl: float = 3600.0,
        paths: Mapping[str, str] | None = None,
        trust: Sequence[x509.Certificate] = (),
        keeper: Keeper | None = None,
        observe: Observe = nobody,
    ) -> DogtagAuthority:
        """Return the CA at a URL, over connections of its own. Nothing is sent yet.

        :param policy: trust and agent certificate, see :class:`kipuka.tls.client.ClientPolicy`.
        :param timeout: seconds for one call to Dogtag as a whole.
        :param max_connections: calls in flight at once.
        :param paths: operation name to path, where this CA's differ; see :mod:`kipuka.authority.dogtag.rest.paths`.
        :raises ValueError: a path override is wrong.
        """
        client = Client.open(reactor, url, policy, timeout=timeout, max_connections=max_connections)
        return cls(
            id,
            client,
            profile,
            clock=reactor,
            cache_ttl=cache_ttl,
            paths=Paths(paths),
            trust=trust,
            keeper=keeper,
            observe=observe,
        )

    @property
    def id(self) -> str:
        """The ``[[ca]] id`` of the configuration."""
        return self._id

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificate and what leads to its root.

        :raises AuthorityError: the CA is away and was never reached before, or nothing is to be cached.
        """
        return await self._chain.get()

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Submit the CSR, unchanged, under the request's profile, and fetch the certificate if there is one already.

        :raises AuthorityError: UNREACHABLE and BUSY say that nothing was submitted; NO_ANSWER and BAD_ANSWER leave
            open whether the CA has issued.
        """
        if request.names is not None:
            raise AuthorityError(
                Kind.REFUSED, "This CA issues only for the names in the CSR: leave the ChangeSubjectName attribute out."
            )
        profile = request.profile or self._profile
        template = self._template(profile)
        body = _filled(await self._form(template), request)
        try:
            result = outcome.submission(await self._call(Operation.ENROLL, body=body, send_before=request.send_before))
        except AuthorityError as trouble:
            if trouble.kind in _DOUBTS_FORM:
                template.forget()
            raise
        if isinstance(result, Pending):
            return await self._confirmed(result)
        return await self._fetch_issued(result, request.csr)

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        """Ask the CA's own database whether the certificate is revoked; UNKNOWN when it is not this CA's.

        :raises AuthorityError: the CA cannot say now.
        """
        answer = await self._call(Operation.CERTIFICATE, hex(certificate.serial_number))
        if outcome.no_such_certificate(answer):
            return CertificateStatus.UNKNOWN
        if answer.status != 200:
            raise outcome.failure(answer)
        record = wire.certificate(answer)
        if record.certificate != certificate:  # another CA's certificate with a serial number this one has used too
            return CertificateStatus.UNKNOWN
        return _STATUS.get(record.status, CertificateStatus.UNKNOWN)

    async def probe(self) -> None:
        """Ask for the certificate of the CA itself by its serial number, which needs the CA and its LDAP server.

        Dogtag's own word for its state is "running" also while LDAP is down. "No such certificate" is a good answer:
        it comes from the directory, and a CA whose certificate another CA signed has no record of it.

        :raises AuthorityError: the CA does not work now.
        """
        if self._serial is None:
            self._serial = (await self.chain())[0].serial_number
        answer = await self._call(Operation.PROBE, hex(self._serial), at_once=True)
        if not (outcome.no_such_certificate(answer) or (answer.status == 200 and answer.is_json)):
            raise outcome.failure(answer)

    async def still_pending(self, expected: int) -> PendingRequests:
        """List what waits for an agent, in one call; see :meth:`kipuka.authority.dogtag.tracking.Tracking.pending`.

        :raises AuthorityError: the CA cannot say now.
        """
        return await self._tracking.pending(expected)

    async def progress(self, request_id: str) -> Progress:
        """Ask how a request stands; see :meth:`kipuka.authority.dogtag.tracking.Tracking.progress`.

        :raises AuthorityError: the CA cannot be asked, or cannot be understood.
        """
        return await self._tracking.progress(request_id)

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Look a public key up; see :meth:`kipuka.authority.dogtag.lookup.Lookup.find` for what Absent proves.

        :raises AuthorityError: the CA cannot say now, or there is more to look through than fits into one call.
        """
        return await self._lookup.find(public_key, subject, since, known)

    async def owns(self, serial: int) -> Standing | None:
        """Say how a certificate stands; see :meth:`kipuka.authority.dogtag.revocation.Revocation.owns`.

        :raises AuthorityError: the CA cannot say now.
        """
        return await self._revocation.owns(serial)

    async def revoke(self, serial: int, reason: Reason) -> Revoked:
        """Withdraw a certificate; see :meth:`kipuka.authority.dogtag.revocation.Revocation.revoke`.

        :raises AuthorityError: there is none, this cannot be done to it, or the CA is in trouble.
        """
        return await self._revocation.revoke(serial, reason)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._client.close()

    def _template(self, profile: str) -> Cached[wire.Template]:
        if profile not in self._templates:
            self._templates[profile] = Cached(lambda: self._fetch_template(profile), self._clock, None)
        return self._templates[profile]

    async def _form(self, template: Cached[wire.Template]) -> wire.Template:
        """Get the form. Whatever fails here, nothing has been submitted."""
        try:
            return await template.get()
        except AuthorityError as trouble:
            if trouble.kind in (Kind.NO_ANSWER, Kind.BAD_ANSWER):
                raise outcome.error(Kind.UNREACHABLE, f"no form of the profile: {trouble.cause}") from trouble
            raise

    async def _fetch_template(self, profile: str) -> wire.Template:
        answer = await self._call(Operation.TEMPLATE, profile)
        if answer.status != 200:
            raise outcome.no_template(answer)
        template = wire.template(answer)
        if not {"cert_request_type", "cert_request"} <= template.fields:
            raise outcome.error(Kind.MISCONFIGURED, f"profile {profile} does not take a CSR")
        return template

    async def _confirmed(self, pending: Pending) -> Pending:
        """Look whether the request exists: with LDAP down 10.x gives numbers to requests that it never stores."""
        missing = f"request {pending.request_id} is pending by the CA's word, but not to be found"
        try:
            answer = await self._call(Operation.REQUEST, pending.request_id)
        except AuthorityError as trouble:
            raise outcome.error(Kind.NO_ANSWER, f"{missing}: {trouble.cause}") from trouble
        if answer.status != 200:
            raise outcome.error(Kind.NO_ANSWER, f"{missing}: {outcome.failure(answer).cause}")
        if wire.requested(answer).request_id != int(pending.request_id):
            raise outcome.error(Kind.BAD_ANSWER, f"{missing}: another request was shown")
        return pending

    async def _fetch_issued(self, certificate_id: int, csr: x509.CertificateSigningRequest) -> Issued:
        """Fetch what was issued. No failure here may read as "nothing was sent"."""
        issued_as = f"issued as {certificate_id:#x}, but not fetched"
        try:
            answer = await self._call(Operation.CERTIFICATE, hex(certificate_id))
        except AuthorityError as trouble:
            raise outcome.error(Kind.NO_ANSWER, f"{issued_as}: {trouble.cause}") from trouble
        if answer.status != 200:
            raise outcome.error(Kind.NO_ANSWER, f"{issued_as}: {outcome.failure(answer).cause}")
        certificate = wire.certificate(answer).certificate
        if _key(certificate) != _key(csr):
            raise outcome.error(Kind.BAD_ANSWER, f"certificate {certificate_id:#x} does not carry the CSR's public key")
        self._lookup.note(certificate)
        return Issued(certificate)


def _filled(template: wire.Template, request: EnrollmentRequest) -> bytes:
    values = wire.subject_fields(request.csr.subject)
    values["cert_request_type"] = "pkcs10"
    values["cert_request"] = base64.b64encode(request.csr.public_bytes(Encoding.DER)).decode("ascii")
    values["requestor_name"] = wire.printable(request.requestor)
    body = wire.enrollment_body(template, values)
    if len(body) > BODY_LIMIT:
        raise AuthorityError(
            Kind.TOO_LARGE,
            "The certificate request is too large for this CA, which takes about 13 KB: "
            "leave out attributes and names that are not needed.",
            f"a body of {len(body)} bytes; {BODY_LIMIT} are the limit",
        )
    return body


def _key(source: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return source.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
