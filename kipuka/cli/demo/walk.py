"""The walk-through: the device gets a certificate and renews it, and each step is told in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from kipuka.cli.demo.device import Answer, Device, StepFailed, request
from kipuka.cli.demo.site import USER, Site

DEVICE_NAME = "device-1.example"


Say = Callable[[str], None]
"""Prints a line."""


def through(site: Site, say: Say) -> int:
    """Play all steps against the running daemon.

    :returns: the serial number of the certificate that the device has in the end.
    :raises StepFailed: an answer is not what it should be.
    :raises OSError: no answer at all.
    """
    device = Device(site)
    tell = _Teller(say)

    tell.step("The device asks for the CA's certificates: what it will trust from now on.")
    tell.sent("GET /.well-known/est/cacerts, without a password or a certificate")
    answer = device.get("cacerts")
    authorities = answer.certificates()
    tell.answer(answer)
    tell.certificates("the CA", authorities)

    tell.step("The device makes a key, and a certificate request (CSR) signed with it. The key stays on the device.")
    key = ec.generate_private_key(ec.SECP256R1())
    csr = request(key, DEVICE_NAME)
    tell.field("key", "EC P-256")
    tell.field("request", f"{csr.subject.rfc4514_string()}, DNS name {DEVICE_NAME}")

    tell.step(f"The device enrolls as the user {USER}, with the password that it was given.")
    tell.sent("POST /.well-known/est/simpleenroll, the request in base64, HTTP Basic inside TLS")
    answer = device.enroll(csr)
    first = _issued(answer, key, authorities)
    tell.answer(answer)
    tell.certificates("certificate", [first])
    identity = device.keep("first", first, key)

    tell.step("Later the device renews: a new key, the same names, and the certificate just got instead of a password.")
    tell.sent("POST /.well-known/est/simplereenroll, the first certificate in the TLS handshake")
    new_key = ec.generate_private_key(ec.SECP256R1())
    answer = device.reenroll(request(new_key, DEVICE_NAME), identity)
    second = _issued(answer, new_key, authorities)
    if second.serial_number == first.serial_number:
        raise StepFailed("the renewed certificate is the old one")
    tell.answer(answer)
    tell.certificates("certificate", [second])
    device.keep("renewed", second, new_key)
    return second.serial_number


def _issued(
    answer: Answer, key: ec.EllipticCurvePrivateKey, authorities: Sequence[x509.Certificate]
) -> x509.Certificate:
    """Return the certificate for the key, once it is seen to be signed by the CA."""
    certificate = answer.certificates()[0]
    if certificate.public_key() != key.public_key():
        raise StepFailed("the certificate is for another key")
    issuers = [each for each in authorities if each.subject == certificate.issuer]
    try:
        certificate.verify_directly_issued_by(issuers[0])
    except (IndexError, InvalidSignature):
        raise StepFailed("the certificate is not signed by the CA") from None
    return certificate


class _Teller:
    """Numbers the steps and lines the words up."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._steps = 0

    def step(self, text: str) -> None:
        self._steps += 1
        self._say("")
        self._say(f"{self._steps}. {text}")

    def field(self, name: str, value: str) -> None:
        self._say(f"   {name:<12} {value}")

    def sent(self, text: str) -> None:
        self.field("sent", text)

    def answer(self, answer: Answer) -> None:
        self.field("came back", f"{answer.status} {answer.content_type}, {len(answer.body)} bytes")

    def certificates(self, what: str, certificates: Sequence[x509.Certificate]) -> None:
        for each in certificates:
            self.field(what, each.subject.rfc4514_string())
            self.field("serial", f"0x{each.serial_number:x}")
            start, end = each.not_valid_before_utc, each.not_valid_after_utc
            self.field("valid", f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
