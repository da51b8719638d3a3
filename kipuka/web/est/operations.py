"""The EST operations (RFC 7030 §4): what each takes from a request and what it answers."""

from __future__ import annotations

from dataclasses import replace

from klein import Klein
from twisted.web.resource import IResource

from kipuka.enrollment.registration import Answered, Applicant, Names
from kipuka.errors import Kind, RequestError
from kipuka.est import certs_only, channel_binding, media, renewal
from kipuka.est.csr import CertificationRequest
from kipuka.web.est.routing import Access, Call, Gate, operation, plain_errors
from kipuka.web.http import session
from kipuka.web.http.answers import Answer, no_content, payload, text
from kipuka.web.http.received import field


class EstOperations:
    """The EST paths of one listener.

    :param gate: labels, authentication, errors.
    :param retry_after: seconds after which a client may ask again for a certificate that waits for approval.
    """

    app = Klein()
    # Off, or werkzeug answers //cacerts with a redirect: no operation redirects (RFC 7030 §3.2.1).
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    plain_errors(app)

    def __init__(self, gate: Gate, retry_after: int) -> None:
        self.gate = gate
        self._retry_after = retry_after

    def resource(self) -> IResource:
        """The resource for a site."""
        return self.app.resource()

    @operation(app, "cacerts", "GET", Access.ANYBODY)
    async def ca_certificates(self, call: Call) -> Answer:
        """The CA's certificates (RFC 7030 §4.1)."""
        certificates = await call.label.registration.ca_certificates()
        return payload(media.PKCS7, certs_only.encode(certificates), _wrap(call))

    @operation(app, "csrattrs", "GET", Access.ANYBODY)
    async def csr_attributes(self, call: Call) -> Answer:
        """What a CSR should contain (RFC 7030 §4.5, RFC 9908)."""
        if not call.label.offers_attributes:
            raise RequestError(Kind.NOT_OFFERED, "CSR attributes are not offered here: send the CSR as it is.")
        if call.label.csr_attributes is None:
            return no_content()
        return payload(media.CSR_ATTRIBUTES, call.label.csr_attributes, _wrap(call))

    @operation(app, "simpleenroll", "POST", Access.ADMITTED)
    async def simple_enroll(self, call: Call) -> Answer:
        """A certificate for a CSR (RFC 7030 §4.2.1)."""
        wanted = _certification_request(call)
        call.label.policy.check(call.caller, wanted)
        answered = await call.label.registration.enroll(wanted.request, _applicant(call), _names(wanted))
        return self._answer(call, answered)

    @operation(app, "simplereenroll", "POST", Access.ADMITTED)
    async def simple_reenroll(self, call: Call) -> Answer:
        """The successor of the certificate shown in the handshake (RFC 7030 §4.2.2)."""
        certificate = call.caller.certificate
        if certificate is None:
            raise RequestError(
                Kind.FORBIDDEN,
                "Re-enrollment needs the certificate to be renewed: connect with it as TLS client certificate.",
            )
        wanted = _certification_request(call)
        renewal.check(wanted, certificate)
        call.label.policy.check(call.caller, wanted)
        answered = await call.label.registration.renew(certificate, wanted.request, _applicant(call), _names(wanted))
        return self._answer(call, answered)

    @operation(app, "fullcmc", "POST", Access.ANYBODY)
    async def full_cmc(self, _call: Call) -> Answer:
        """Not offered (RFC 7030 §4.3.2 gives clients this answer to expect)."""
        raise RequestError(Kind.NOT_OFFERED, "Full CMC is not offered here: use simpleenroll.")

    @operation(app, "serverkeygen", "POST", Access.ANYBODY)
    async def server_key_generation(self, _call: Call) -> Answer:
        """Not offered."""
        raise RequestError(Kind.NOT_OFFERED, "Keys are not generated here: make one and use simpleenroll.")

    def _answer(self, call: Call, answered: Answered) -> Answer:
        call.facts["ca"] = answered.enrollment.application.ca_id
        call.facts["enrollment"] = answered.enrollment.id
        certificate = answered.certificate
        if certificate is not None:
            call.facts["outcome"] = "issued"
            call.facts["serial"] = f"0x{certificate.serial_number:x}"
            call.facts["subject"] = certificate.subject.rfc4514_string()
            answer = payload(media.CERTS_ONLY, certs_only.encode([certificate]), _wrap(call))
            return replace(answer, written=answered.written, outcome="issued")
        call.facts["outcome"] = "pending"
        call.facts["request"] = answered.enrollment.request_id
        waits = text(
            202,
            "The request waits for approval: send it again after the time in Retry-After.",
            ("Retry-After", str(max(1, self._retry_after))),
        )
        return replace(waits, outcome="pending")


def _certification_request(call: Call) -> CertificationRequest:
    """Take the CSR out of the body and check that its sender is at the other end of this connection.

    :raises RequestError: for every way in which that can fail.
    """
    media.check_media_type(field(call.request, "content-type"), media.PKCS10)
    wanted = CertificationRequest.decode(media.decode_base64(call.body()))
    call.facts["subject"] = wanted.subject.rfc4514_string()
    channel_binding.verify(wanted.challenge_password, session.binding(call.request), call.label.policy.linking)
    return wanted


def _applicant(call: Call) -> Applicant:
    return Applicant(call.caller.name, call.caller.identity, call.origin)


def _names(wanted: CertificationRequest) -> Names | None:
    if wanted.subject_change is None:
        return None
    return Names(wanted.effective_subject, wanted.effective_alternative)


def _wrap(call: Call) -> int | None:
    return media.wrap_for((name for name, _ in call.request.requestHeaders.getAllRawHeaders()), call.label.wrap)
