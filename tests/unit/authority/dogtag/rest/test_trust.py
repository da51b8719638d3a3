"""kipuka.authority.dogtag.rest.client: which servers it talks to, and over which TLS."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import TestCase

from kipuka.errors import Kind
from kipuka.tls.client import ClientPolicy
from tests.support import pki
from tests.unit.authority.dogtag.rest.scripted import AGENT, ROOT, ClientCase, ServerTLS


class TrustTests(ClientCase):
    async def untrusted(self, identity: pki.Identity, word: str, host: str = "localhost") -> None:
        client = await self.start(ServerTLS(identity))
        port = client._url.rpartition(":")[2]
        error = await self.fails(self.client(int(port), host=host).post("/ok", b"{}"))
        self.assertIs(error.kind, Kind.UNREACHABLE)
        self.assertIn(word, error.cause)
        self.assertEqual(self.script.seen, [])

    async def test_a_server_of_an_unknown_ca_is_not_talked_to(self) -> None:
        await self.untrusted(pki.root("CN=Server Root").server("localhost"), "certificate verify failed")

    async def test_a_server_with_an_expired_certificate_is_not_talked_to(self) -> None:
        expired = ROOT.server("localhost", not_after=pki.NOW.replace(year=2020))
        await self.untrusted(expired, "certificate verify failed")

    async def test_a_server_with_a_client_certificate_is_not_talked_to(self) -> None:
        await self.untrusted(ROOT.client("CN=localhost", pki.san("localhost")), "certificate verify failed")

    async def test_a_server_of_another_name_is_not_talked_to(self) -> None:
        await self.untrusted(ROOT.server("other.example"), "DNSMismatch")

    async def test_a_server_of_another_address_is_not_talked_to(self) -> None:
        await self.untrusted(ROOT.server("192.0.2.1"), "IPAddressMismatch", host="127.0.0.1")

    async def test_a_server_is_known_by_its_address_too(self) -> None:
        client = await self.start(ServerTLS(ROOT.server("127.0.0.1")))
        port = int(client._url.rpartition(":")[2])
        self.assertEqual((await self.client(port, host="127.0.0.1").get("/ok")).status, 200)

    async def test_an_intermediate_can_be_the_trust_root(self) -> None:
        middle = ROOT.intermediate()
        client = await self.start(ServerTLS(middle.server()))
        port = int(client._url.rpartition(":")[2])
        policy = ClientPolicy([middle.certificate])
        self.assertEqual((await self.client(port, policy=policy).get("/ok")).status, 200)
        self.assertEqual(self.script.subjects, {""})

    async def test_tls_1_1_is_not_spoken(self) -> None:
        class Old(ServerTLS):
            def __init__(self) -> None:
                super().__init__()
                self._context.set_max_proto_version(SSL.TLS1_1_VERSION)

        client = await self.start(Old())
        self.assertIs((await self.fails(client.post("/ok", b"{}"))).kind, Kind.UNREACHABLE)


class PolicyTests(TestCase):
    def test_trust_roots_are_a_must(self) -> None:
        self.assertRaises(ValueError, ClientPolicy, [])

    def test_a_key_of_another_certificate_is_refused(self) -> None:
        self.assertRaises(ValueError, ClientPolicy, [ROOT.certificate], AGENT.chain, pki.ec_key())
        odd = pki.with_unknown_key(AGENT.certificate)
        self.assertRaises(ValueError, ClientPolicy, [ROOT.certificate], [odd], AGENT.key)

    def test_certificate_and_key_come_together(self) -> None:
        self.assertRaises(ValueError, ClientPolicy, [ROOT.certificate], AGENT.chain)
        self.assertRaises(ValueError, ClientPolicy, [ROOT.certificate], (), AGENT.key)

    def test_one_host_has_one_creator(self) -> None:
        policy = ClientPolicy([ROOT.certificate])
        self.assertIs(policy.creatorForNetloc(b"a", 1), policy.creatorForNetloc(b"a", 1))
