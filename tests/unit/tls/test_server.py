"""kipuka.tls.server: certificates and CRLs exchanged while connections come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from OpenSSL import SSL, crypto

from kipuka.tls.contexts import ServerMaterial
from kipuka.tls.server import RefusedCertificate, ServerConnections
from tests.support import pki
from tests.unit.tls.test_failures import ROOT, SERVER, handshake, show

OWN = pki.root("CN=Own CA")
DEVICE, REVOKED = OWN.client("CN=device"), OWN.client("CN=revoked")
MATERIAL = ServerMaterial(SERVER.chain, SERVER.key, trust_anchors=(ROOT.certificate, OWN.certificate))


class Listener(ServerConnections):
    """Says what became of a client."""

    def __init__(self) -> None:
        self.refused: list[RefusedCertificate] = []
        super().__init__(MATERIAL, self.refused.append)

    def says(self, device: pki.Identity) -> str:
        self.refused.clear()
        handshake(self, show(device))
        return ", ".join(each.reason for each in self.refused) or "welcome"


def test_the_crl_of_an_own_ca_needs_none_of_other_anchors() -> None:
    listener = Listener()
    assert listener.says(REVOKED) == "welcome"
    listener.honour("own", OWN.crl([REVOKED.certificate]))
    assert listener.says(REVOKED) == "revoked"
    assert listener.says(DEVICE) == listener.says(ROOT.client("CN=birth")) == "welcome"


def test_a_handshake_that_had_begun_is_refused_too() -> None:
    listener = Listener()

    def revoke_then_show(context: SSL.Context) -> None:  # when the server's side has its context already
        listener.honour("own", OWN.crl([REVOKED.certificate]))
        show(REVOKED)(context)

    handshake(listener, revoke_then_show)
    assert [each.reason for each in listener.refused] == ["revoked"]


def test_the_crl_of_an_own_ca_that_is_gone_refuses_nobody_once_it_is_out_of_date() -> None:
    listener = Listener()
    over = OWN.crl([REVOKED.certificate], next_update=pki.NOW - timedelta(days=1))
    listener.honour("own", over)
    assert listener.says(DEVICE) == "CRL out of date"
    listener.replace(MATERIAL)
    assert listener.says(DEVICE) == "welcome"
    listener.honour("other", ROOT.crl())  # nor does it come back with another's
    assert listener.says(DEVICE) == "welcome"


class Wrapping:
    """Stands for the TLS side of a connection."""

    def __init__(self, protocol: str | None) -> None:
        self.wrappedProtocol = protocol


class Shaken:
    """Stands for a connection that has shaken hands with a client whose certificate is revoked now."""

    def get_peer_certificate(self) -> crypto.X509:
        return crypto.X509.from_cryptography(REVOKED.certificate)


def test_a_connection_that_is_lost_already_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    listener = ServerConnections(MATERIAL, lambda _: None, ended.append)
    wrappings = [Wrapping(None), Wrapping("open")]
    monkeypatch.setattr(SSL, "Connection", lambda *_: Shaken())
    connections = [listener.serverConnectionForTLS(each) for each in wrappings]
    listener.honour("own", OWN.crl([REVOKED.certificate]))
    assert (ended, len(connections)) == (["open"], 2)


def test_a_crl_from_a_file_is_exchanged() -> None:
    listener = Listener()
    crls = (ROOT.crl(), OWN.crl())
    listener.replace(replace(MATERIAL, crls=crls))
    assert listener.says(REVOKED) == "welcome"
    listener.replace(replace(MATERIAL, crls=(ROOT.crl(), OWN.crl([REVOKED.certificate]))))
    assert listener.says(REVOKED) == "revoked"
    assert listener.says(DEVICE) == "welcome"
    listener.replace(replace(MATERIAL, crls=(ROOT.crl(),)))
    assert listener.says(DEVICE) == "no CRL for its issuer"
