"""A test enrollment, and taking back what came of it (``--enroll``)."""

from __future__ import annotations

import json
from collections.abc import Awaitable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import message
from kipuka.authority.interface import EnrollmentRequest, Issued, Pending
from kipuka.cli.doctor.checks.profiles import Profile
from kipuka.cli.doctor.checks.tls import names
from kipuka.cli.doctor.findings import Finding, fault, ok, warning
from kipuka.errors import AuthorityError, Kind

NAME = "kipuka-doctor"
_HOST = "kipuka-doctor.invalid"
_OPEN = {Kind.NO_ANSWER, Kind.BAD_ANSWER}
"""After these the CA may have issued all the same."""


async def enroll(
    subject: str, name: str, profile: Profile | None, authority: DogtagAuthority, agent: Agent
) -> list[Finding]:
    """Ask for a certificate with a throwaway key, say what came of it, and take it back.

    :param profile: what is known of the profile, to ask in a way that it takes.
    """
    request = EnrollmentRequest(_csr(profile), name, NAME)
    try:
        outcome = await authority.enroll(request)
    except AuthorityError as trouble:
        text = f"the test enrollment with profile {name} failed: {trouble.text.partition(':')[0]}: {trouble.cause}"
        remedy = "see docs/dogtag.md, section 4, and the CA's debug log"
        if trouble.kind in _OPEN:
            remedy += f"; look there for a certificate or request of {NAME}, which may exist"
        if trouble.kind is Kind.REFUSED:
            remedy = "the subject or key of the test does not fit the profile's rules: try a real device"
            return [warning(subject, text, remedy)]
        return [fault(subject, text, remedy)]
    if isinstance(outcome, Pending):
        return await _cancelled(subject, name, outcome.request_id, agent)
    return await _revoked(subject, name, outcome, agent)


class Agent:
    """What an agent does at a CA by hand.

    :param base: path of the API that answers.
    """

    def __init__(self, client: Client, base: str) -> None:
        self._client = client
        self._base = base

    async def cancel(self, request: str) -> str:
        """Cancel a waiting request. Returns why that failed; empty when it did not."""
        path = f"{self._base}/agent/certrequests/{request}"
        review = await self._client.get(path)
        if review.status != 200:
            return f"HTTP {review.status}, {message(review)}"
        answer = await self._client.post(f"{path}/cancel", review.body)
        return "" if answer.status in (200, 204) else f"HTTP {answer.status}, {message(answer)}"

    async def revoke(self, serial: int) -> str:
        """Revoke a certificate. Returns why that failed; empty when it did not."""
        path = f"{self._base}/agent/certs/{serial:#x}"
        record = await self._client.get(path)
        if record.status != 200:
            return f"HTTP {record.status}, {message(record)}"
        order = {"Reason": "Cessation_of_Operation", "Nonce": json.loads(record.body).get("Nonce"), "Comments": NAME}
        answer = await self._client.post(f"{path}/revoke", json.dumps(order).encode())
        if answer.status == 200 and json.loads(answer.body).get("operationResult") == "success":
            return ""
        return f"HTTP {answer.status}, {message(answer)}"


async def _cancelled(subject: str, name: str, request: str, agent: Agent) -> list[Finding]:
    waits = ok(subject, f"the test enrollment with profile {name} waits for an agent as request {request}")
    failed = await _attempt(agent.cancel(request))
    if failed:
        return [waits, warning(subject, f"request {request} remains: {failed}", f"cancel it by hand (it is {NAME}'s)")]
    return [waits, ok(subject, f"request {request} was cancelled")]


async def _revoked(subject: str, name: str, issued: Issued, agent: Agent) -> list[Finding]:
    certificate = issued.certificate
    serial = f"{certificate.serial_number:#x}"
    found = "with" if _HOST in names(certificate) else "without"
    text = f"the test enrollment with profile {name} was issued at once, {found} the subjectAltName it asked for"
    findings = [ok(subject, f"{text}, as {serial}")]
    failed = await _attempt(agent.revoke(certificate.serial_number))
    if failed:
        remedy = f"revoke it by hand: pki ca-cert-revoke {serial}"
        return [*findings, warning(subject, f"the certificate {serial} remains: {failed}", remedy)]
    return [*findings, ok(subject, f"the certificate {serial} was revoked")]


async def _attempt(act: Awaitable[str]) -> str:
    try:
        return await act
    except AuthorityError as trouble:
        return trouble.cause
    except (ValueError, AttributeError):
        return "the answer cannot be read"


def _csr(profile: Profile | None) -> x509.CertificateSigningRequest:
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if profile is None or "RSA" in profile.key_types:
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name.from_rfc4514_string(profile.test_subject if profile else f"CN={NAME}")
    alternative = x509.SubjectAlternativeName([x509.DNSName(_HOST)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
