"""Who may use a label at all: which credentials, in which combination, and the checks that follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from cryptography import x509

from kipuka.access.checks import Check
from kipuka.access.identity import Caller
from kipuka.errors import Kind, RequestError
from kipuka.est.csr import CertificationRequest


class Credential(Enum):
    """A way a caller shows who it is (RFC 7030 §3.2.3, §3.3.2)."""

    CERTIFICATE = "certificate"
    BASIC = "basic"


@dataclass(frozen=True)
class Policy:
    """What a label demands of its callers.

    :param ways: alternatives, each a set of credentials that are demanded together.
    :param checks: what a caller may ask for; each has one reason to refuse.
    :param linking: whether the CSR must be linked to the TLS session (RFC 7030 §3.5).
    :param anchors: the CAs whose client certificates count here, theirs and what is below them (RFC 7030 §3.3.2); None:
        all that the handshake takes. Not names, for each of these CAs can give a CA below it any name.
    """

    ways: tuple[frozenset[Credential], ...]
    checks: tuple[Check, ...] = ()
    linking: bool = False
    anchors: frozenset[x509.Certificate] | None = None

    @property
    def uses_passwords(self) -> bool:
        """Whether HTTP Basic is among the credentials."""
        return any(Credential.BASIC in way for way in self.ways)

    def admit(self, caller: Caller) -> Caller:
        """Let the caller in by one of the ways.

        :return: the caller as it counts here: without its certificate when that is from a CA that does not.
        :raises RequestError: UNAUTHENTICATED when a user name and password could help, else FORBIDDEN.
        """
        counts = self.anchors is None or not self.anchors.isdisjoint(caller.issuers)
        counted = caller if counts else replace(caller, certificate=None)
        shown = {
            credential
            for credential, value in ((Credential.CERTIFICATE, counted.certificate), (Credential.BASIC, counted.user))
            if value is not None
        }
        if any(way <= shown for way in self.ways):
            return counted
        if self.uses_passwords and caller.user is None:
            raise RequestError(
                Kind.UNAUTHENTICATED,
                "This request needs a user name and password (HTTP Basic)"
                + (
                    " or a client certificate in the TLS handshake."
                    if frozenset({Credential.CERTIFICATE}) in self.ways
                    else "."
                    if frozenset({Credential.BASIC}) in self.ways
                    else " together with a client certificate in the TLS handshake."
                ),
            )
        if caller.certificate is not None and not counts:
            raise RequestError(
                Kind.FORBIDDEN,
                "Client certificates of the CA that issued yours do not count here: connect with one of another CA.",
            )
        raise RequestError(
            Kind.FORBIDDEN,
            "This request needs a client certificate: connect with one that this server trusts.",
        )

    def check(self, caller: Caller, request: CertificationRequest) -> None:
        """Run every check.

        :raises RequestError: the first refusal.
        """
        for check in self.checks:
            check(caller, request)
