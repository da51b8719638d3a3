"""Why a client's TLS handshake failed, in a few fixed words."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.python.failure import Failure

from kipuka.tls.contexts import reasons

NO_CERTIFICATE = "no client certificate"
DISTRUST = "server certificate refused by the client"
VERSION = "protocol version"
CIPHER = "no common cipher"
NOT_TLS = "not TLS"
OTHER = "other"

CAUSES = (NO_CERTIFICATE, DISTRUST, VERSION, CIPHER, NOT_TLS, OTHER)

# OpenSSL's reason strings (ssl/ssl_err.c): 3.0 and later write some of them in another case or with other prefixes than
# 1.1.1, so pieces of them are looked for. The first that fits wins.
_PIECES = (
    ("peer did not return a certificate", NO_CERTIFICATE),
    ("alert unknown ca", DISTRUST),
    ("alert bad certificate", DISTRUST),
    ("alert certificate", DISTRUST),
    ("alert unsupported certificate", DISTRUST),
    ("alert protocol version", VERSION),
    ("unsupported protocol", VERSION),
    ("version too low", VERSION),
    ("inappropriate fallback", VERSION),
    ("no shared cipher", CIPHER),
    ("no suitable", CIPHER),
    ("no common", CIPHER),
    ("http request", NOT_TLS),
    ("https proxy request", NOT_TLS),
    ("wrong version number", NOT_TLS),
    ("unknown protocol", NOT_TLS),
    ("packet length too long", NOT_TLS),
    ("record layer", NOT_TLS),
)


def cause(reason: Failure) -> str | None:
    """Why a connection ended, if a failed handshake was it; Twisted passes OpenSSL's error on in that case only.

    :return: one of :data:`CAUSES`. None when the connection ended in another way, and when the client's certificate was
        refused: :class:`~kipuka.tls.server.ServerConnections` tells of that, with the reason.
    """
    error = reason.value
    if not isinstance(error, SSL.Error) or isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
        return None
    text = " ".join(reasons(error)).lower()
    if not text or "unexpected eof" in text or "certificate verify failed" in text:
        return None
    return next((named for piece, named in _PIECES if piece in text), OTHER)
