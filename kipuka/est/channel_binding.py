"""Linking a CSR to the TLS session it arrives on, by the challengePassword (RFC 7030 §3.5).

The client puts base64 of its TLS channel binding into the CSR and signs it; nobody who relays the CSR over a session of
their own can make the two agree.

RFC 7030 knows only ``tls-unique`` (RFC 5929 §3), the first Finished message of the handshake. TLS 1.3 has no such
binding. There kipuka takes ``tls-exporter`` (RFC 9266 §2), which RFC 9266 makes the default above TLS 1.2: 32 bytes of
keying material exported under the label ``EXPORTER-Channel-Binding`` with a context that is present and empty; as
base64, 44 characters. RFC 7030 was never updated to say so.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from kipuka.errors import Kind, RequestError
from kipuka.est.media import decode_strict


@dataclass(frozen=True)
class TlsBinding:
    """The channel bindings of one TLS connection.

    :param protocol: as OpenSSL names it: ``TLSv1.2``, ``TLSv1.3``.
    :param tls_unique: TLS 1.2: the first Finished message, the client's as there is no resumption here.
    :param exporter: TLS 1.3: the 32 bytes of ``tls-exporter``.
    """

    protocol: str
    tls_unique: bytes | None = field(repr=False)
    exporter: bytes | None = field(repr=False)

    @property
    def value(self) -> bytes | None:
        """The binding that counts for this protocol version; None when there is none."""
        match self.protocol:
            case "TLSv1.2":
                return self.tls_unique
            case "TLSv1.3":
                return self.exporter
            case _:
                return None

    @property
    def type(self) -> str:
        """The registered name of that binding."""
        return "tls-exporter" if self.protocol == "TLSv1.3" else "tls-unique"


def verify(challenge_password: str | None, binding: TlsBinding, required: bool) -> None:  # noqa: FBT001
    """Check the challengePassword against the session; one that is present is checked even if none is required.

    :param challenge_password: from the CSR, None when it has none.
    :param required: whether the label demands linking.
    :raises RequestError: FORBIDDEN when it is missing or belongs to another session, MALFORMED when it is no binding.
    """
    if challenge_password is None:
        if required:
            raise RequestError(
                Kind.FORBIDDEN,
                "Requests must be linked to the TLS session here: put base64 of the session's"
                f" {binding.type} value into the challengePassword attribute of the CSR (RFC 7030 section 3.5).",
            )
        return
    expected = binding.value
    if not expected:
        raise RequestError(
            Kind.FORBIDDEN,
            "This connection has no TLS channel binding to check the challengePassword against: leave it out.",
            f"protocol {binding.protocol!r}",
        )
    try:
        claimed = decode_strict(challenge_password.encode("ascii"))
    except ValueError:  # not shown: UnicodeEncodeError quotes the password
        raise RequestError(
            Kind.MALFORMED,
            f"The challengePassword is not base64 of a TLS channel binding: use the session's {binding.type} value,"
            " or leave the attribute out.",
        ) from None
    if not hmac.compare_digest(claimed, expected):
        raise RequestError(
            Kind.FORBIDDEN,
            f"The challengePassword is not the {binding.type} value of this TLS session: make a new CSR for every"
            " connection, and check that no proxy or middlebox between client and server opens the TLS session.",
            f"{len(claimed)} bytes given, {len(expected)} expected",
        )
