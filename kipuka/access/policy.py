"""Who may use a label at all: which credentials, in which combination, and the checks that follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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
    """

    ways: tuple[frozenset[Credential], ...]
    checks: tuple[Check, ...] = ()
    linking: bool = False

    @property
    def uses_passwords(self) -> bool:
        """Whether HTTP Basic is among the credentials."""
        return any(Credential.BASIC in way for way in self.ways)

    def admit(self, caller: Caller) -> None:
        """Let the caller in by one of the ways.

        :raises RequestError: UNAUTHENTICATED when a user name and password could help, else FORBIDDEN.
        """
        shown = {
            credential
            for credential, value in ((Credential.CERTIFICATE, caller.certificate), (Credential.BASIC, caller.user))
            if value is not None
        }
        if any(way <= shown for way in self.ways):
            return
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
