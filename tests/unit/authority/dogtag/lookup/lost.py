"""Requests at a Dogtag whose answers were lost, and what is seen of looking for them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.authority.dogtag import DogtagAuthority, wire
from kipuka.authority.interface import EnrollmentRequest, Finding, Issued, Pending
from tests.support import pki
from tests.support.dogtag import transcript
from tests.support.dogtag.standin import StandIn, now

MANUAL = "kipukaServerManual"
REVIEWS = 5
"""So many calls come before a look-up's first review: a search by name, and four lists."""
SUBJECT = "CN=lost.kipuka.test,O=KIPUKA"
LISTS = "/ca/rest/agent/certrequests?requestState="
LDAP_DOWN = transcript.read("10.10.2/66-requests-ds-down.txt")
DELETED = transcript.read("10.10.2/36-profile-deleted.txt")


class Lost:
    """A request at a stand-in whose answer kipuka never saw."""

    def __init__(self, dogtag: StandIn, profile: str = "kipukaServer", subject: str = SUBJECT) -> None:
        self.dogtag = dogtag
        self.since = datetime.now(UTC) - timedelta(minutes=5)
        self.csr = pki.csr(pki.ec_key(), subject)
        self.outcome = now(dogtag.authority().enroll(EnrollmentRequest(self.csr, profile, "test")))
        dogtag.calls.clear()

    @property
    def number(self) -> int:
        assert isinstance(self.outcome, Pending)
        return int(self.outcome.request_id)

    @property
    def serial(self) -> str:
        assert isinstance(self.outcome, Issued)
        return hex(self.outcome.certificate.serial_number)

    def stands(self, status: str) -> None:
        self.dogtag.requests[self.number]["requestStatus"] = status

    def find(
        self,
        authority: DogtagAuthority | None = None,
        *,
        subject: str = SUBJECT,
        since: datetime | None = None,
        known: tuple[str, ...] = (),
    ) -> Finding:
        """Look it up, at a CA that has seen nothing yet unless told."""
        authority = authority or self.dogtag.authority()
        return now(authority.find(key(self.csr), subject, since or self.since, frozenset(known)))


class Missing(Lost):
    """One that never came to the CA."""

    def __init__(self, dogtag: StandIn) -> None:
        self.dogtag = dogtag
        self.since = datetime.now(UTC) - timedelta(minutes=5)
        self.csr = pki.csr(pki.ec_key(), SUBJECT)


def key(source: x509.Certificate | x509.CertificateSigningRequest) -> str:
    digest = wire.key_digest(source)
    assert digest is not None
    return digest


def fetches(dogtag: StandIn) -> list[str]:
    return [path for method, path in dogtag.calls if method == "GET" and path.startswith("/ca/rest/certs/0x")]


def reviews(dogtag: StandIn) -> list[str]:
    return [path for _, path in dogtag.calls if path.startswith("/ca/rest/agent/certrequests/")]


def encoded(dogtag: StandIn, serial: str, version: int) -> None:
    """Have a certificate shown with another version of X.509 than 3."""
    shown = dogtag._record

    def record(certificate: x509.Certificate) -> dict[str, Any]:
        answer = shown(certificate)
        return answer | {"Encoded": of_version(certificate, version)} if answer["id"] == serial else answer

    dogtag._record = record  # type: ignore[method-assign]


def of_version(certificate: x509.Certificate, version: int) -> str:
    """The PEM of a certificate with another version, which cryptography takes for none."""
    der = certificate.public_bytes(Encoding.DER).replace(
        b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + bytes([version])
    )
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
