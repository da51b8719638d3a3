"""A client certificate that OpenSSL accepts and cryptography does not load."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from tests.support import pki
from tests.web.admin.world import AdminClient, Office, error
from tests.web.fakes import World, basic, body
from tests.web.wire import EST, Client, Session

CSR = body(pki.csr(pki.ec_key(), "CN=device-1"))
DAMAGED = {
    "a critical that is 1, not 255": ("0603551d130101ff", "0603551d13010101"),
    "a version that does not exist": ("a003020102", "a003020103"),
}


class Unreadable(Session):
    """A session whose client has shown one."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__()
        der = pki.root("CN=device-1").certificate.public_bytes(Encoding.DER)
        damaged = der.replace(bytes.fromhex(before), bytes.fromhex(after))
        assert damaged != der
        self._shown = crypto.load_certificate(crypto.FILETYPE_ASN1, damaged)

    def get_peer_certificate(self, *, as_cryptography: bool = False) -> x509.Certificate | None:
        return self._shown.to_cryptography() if as_cryptography else self._shown  # type: ignore[return-value]

    def get_verified_chain(self, *, as_cryptography: bool = False) -> list[x509.Certificate] | None:
        return [self._shown.to_cryptography()]


@pytest.fixture(params=[*DAMAGED.values()], ids=[*DAMAGED])
def session(request: pytest.FixtureRequest) -> Session:
    return Unreadable(*request.param)


def test_a_device_is_told_to_use_another_and_the_audit_has_it(world: World, session: Session) -> None:
    client = Client(world.site, session)
    answer = client.post(f"{EST}/simpleenroll", CSR, authorization=basic())
    assert answer.status == 403
    assert "use another one" in answer.text
    ((event, facts),) = world.audited
    assert (event, facts["kind"], facts["operation"]) == ("refusal", "forbidden", "simpleenroll")
    assert str(facts["certificate"]).startswith("unreadable (")
    assert facts["certificate_serial"] is None
    assert client.get(f"{EST}/cacerts").status == 403
    assert not world.main.requests


def test_an_administrator_too_and_their_token_is_good(admin: Office, session: Session) -> None:
    client = AdminClient(admin.site, session)
    assert "use another one" in error(client.get("/admin/ca"), 403, "forbidden")
    ((event, facts),) = admin.world.audited
    assert event == "admin refusal"
    assert str(facts["certificate"]).startswith("unreadable (")
    assert client.get("/admin/ca", authorization=f"Bearer {admin.tokens['read']}").status == 200
