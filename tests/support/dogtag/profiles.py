"""The stand-in's certificate profiles: what their forms ask for, and whom and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

SUBMITTER = ("requestor_name", "requestor_email", "requestor_phone")
CSR = ("cert_request_type", "cert_request")
SUBJECT = ("sn_uid", "sn_e", "sn_cn", "sn_ou3", "sn_ou2", "sn_ou1", "sn_ou", "sn_o", "sn_c")

Constraint = Callable[[x509.CertificateSigningRequest], str | None]
"""Returns why a profile refuses, or None."""


@dataclass(frozen=True)
class Profile:
    """As much of a certificate profile as matters here. ``agent``: issues at once, and to agents only."""

    inputs: tuple[tuple[str, ...], ...] = (CSR, SUBMITTER)
    agent: bool = False
    enabled: bool = True
    constraint: Constraint = lambda _: None
    renewal: bool = False


def _sizes(csr: x509.CertificateSigningRequest) -> str | None:
    key = csr.public_key()
    short = isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048
    return "Key Parameters 2048,3072,4096,nistp256,nistp384,nistp521 Not Matched" if short else None


def _rsa_only(csr: x509.CertificateSigningRequest) -> str | None:
    return None if isinstance(csr.public_key(), rsa.RSAPublicKey) else "Key Type RSA Not Matched"


def profiles() -> dict[str, Profile]:
    """Return the profiles of the recorded server that tests use."""
    return {
        "kipukaServer": Profile(agent=True, constraint=_sizes),
        "kipukaServerManual": Profile(constraint=_sizes),
        "caServerCert": Profile(constraint=_rsa_only),
        "caUserCert": Profile(inputs=(CSR, SUBJECT, SUBMITTER)),
        "caAgentServerCert": Profile(agent=True),
        "caCrossSignedCACert": Profile(enabled=False),
        "caManualRenewal": Profile(inputs=(("serial_num",),), renewal=True),
    }
