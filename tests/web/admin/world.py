"""The admin API beside EST, with real tokens and a ledger that devices have filled; no sockets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, maybeDeferred

from kipuka.access.credentials.token_file import TokenFile
from kipuka.access.credentials.tokens import Scope, Token, hash_token, new_token, with_token
from kipuka.access.failures import Failures
from kipuka.access.pattern import Pattern
from kipuka.authority.interface import Pending
from kipuka.enrollment.ledger.records import Records
from kipuka.errors import Kind, RequestError
from kipuka.web.admin.api import AdminApi
from kipuka.web.admin.backend import UNKNOWN, Standing
from kipuka.web.admin.door import CertificateRule, Door
from kipuka.web.admin.routing import Gate
from kipuka.web.http.site import EstSite
from kipuka.web.http.tree import Tree
from tests.support import pki
from tests.web.fakes import RETRY_AFTER, World, basic, body
from tests.web.wire import EST, Answer, Client, Session

REASONS = ("unspecified", "keyCompromise", "certificateHold", "removeFromCRL")
EVENTS = ("enrollment", "refusal")
ALLOWED = 3


class AdminClient(Client):
    """A client that expects JSON."""

    errors = "application/json"


class FakeRevocation:
    reasons = REASONS

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, str | None, str]] = []
        self.error: Exception | None = None
        self.waits_for: Deferred[None] | None = None

    async def revoke(self, serial: int, reason: str, ca_id: str | None, by: str) -> Mapping[str, Any]:
        self.asked.append((serial, reason, ca_id, by))
        if self.waits_for is not None:
            await self.waits_for
        if self.error is not None:
            raise self.error
        return {"serial": f"0x{serial:x}", "ca_id": ca_id or "main", "outcome": "revoked"}


class FakeAudit:
    events = EVENTS

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.records: list[tuple[int, Mapping[str, Any]]] = []

    async def page(self, **filters: Any) -> Sequence[tuple[int, Mapping[str, Any]]]:
        self.asked.append(filters)
        before = filters["before"]
        found = [each for each in self.records if before is None or each[0] < before]
        return found[: filters["limit"]]


class FakeAuthorities:
    cas: list[dict[str, Any]] = []

    def describe(self) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        return self.cas, []


class FakeStandings:
    """Knows nothing of what it was not told."""

    def __init__(self) -> None:
        self.known: dict[int, Standing] = {}
        self.asked: list[int] = []

    async def of(self, certificates: Sequence[x509.Certificate]) -> Sequence[Standing]:
        self.asked.append(len(certificates))
        return [self.known.get(each.serial_number, UNKNOWN) for each in certificates]


@dataclass
class Office:
    """What a test sees of it."""

    world: World
    site: EstSite
    api: AdminApi
    gate: Gate
    revocation: FakeRevocation
    standings: FakeStandings
    audit: FakeAudit
    tokens: dict[str, str]
    path: Path
    administrators: pki.Issuer

    def client(self, *chain: x509.Certificate, address: str = "192.0.2.9") -> AdminClient:
        session = Session(chain[0] if chain else None, chain=chain)
        return AdminClient(self.site, session, address)

    def request(
        self, method: str, path: str, body: bytes | None = None, token: str | None = "both", **fields: str | None
    ) -> Answer:
        """Ask, with one of the tokens."""
        shown = {"authorization": f"Bearer {self.tokens[token]}"} if token is not None else {}
        return self.client().request(method, path, body, **{**shown, **fields})

    def get(self, path: str, token: str | None = "both", **fields: str | None) -> Answer:
        return self.request("GET", path, token=token, **fields)

    def post(self, path: str, value: object = None, token: str | None = "both", **fields: str | None) -> Answer:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.request("POST", path, raw, token, **{"content_type": "application/json", **fields})

    def enroll(self, subject: str = "CN=device-1", *, label: str = "", pending: bool = False) -> Answer:
        """Let a device ask for a certificate."""
        authority = self.world.other if label == "/other" else self.world.main
        authority.outcome = (lambda _request: Pending("17")) if pending else None
        answer = self.world.client().post(
            f"{EST}{label}/simpleenroll", body(pki.csr(pki.ec_key(), subject)), authorization=basic()
        )
        assert answer.status == (202 if pending else 200)
        return answer


def value(answer: Answer) -> Any:
    assert answer.field("Content-Type") == "application/json"
    assert answer.field("Cache-Control") == "no-store"
    return json.loads(answer.body)


def error(answer: Answer, status: int, code: str) -> str:
    """The message of an error."""
    found = value(answer)
    assert (answer.status, found["error"], set(found)) == (status, code, {"error", "message"}), found
    message: str = found["message"]
    return message


@contextmanager
def office(world: World, *, complete: bool = True, subjects: Sequence[str] | None = None) -> Iterator[Office]:
    with tempfile.TemporaryDirectory(prefix="kipuka-admin-") as folder:
        path = Path(folder) / "tokens"
        scopes = {"read": [Scope.READ], "revoke": [Scope.REVOKE], "both": list(Scope)}
        tokens = {name: new_token() for name in scopes} | {"wrong": new_token()}
        now = pki.NOW
        text = ""
        for name, allowed in scopes.items():
            text = with_token(text, Token(name, frozenset(allowed), now, hash_token(tokens[name])))
        path.write_text(text)
        administrators = pki.root("CN=Administrators")

        def unexpected(warning: str) -> None:
            raise AssertionError(warning)

        patterns = None if subjects is None else [Pattern(each, ()) for each in subjects]
        door = Door(
            TokenFile(path, unexpected),
            CertificateRule([administrators.certificate], patterns),
            maybeDeferred,
            world.clock,
            Failures(allowed=ALLOWED),
        )
        gate = Gate(door, RETRY_AFTER, world._audit)
        revocation, standings, audit = FakeRevocation(), FakeStandings(), FakeAudit()
        api = AdminApi(
            gate,
            Records(world.ledger),
            FakeAuthorities(),
            standings,
            audit if complete else None,
            revocation if complete else None,
        )
        tree = Tree(world.operations.resource(), {b"admin": api.resource()})
        site = EstSite(tree, world.clock, world.limits, lambda request: None, speaks_json=tree.speaks_json)
        yield Office(world, site, api, gate, revocation, standings, audit, tokens, path, administrators)


def not_found(text: str = "The CA has issued no such certificate: check the number.") -> RequestError:
    return RequestError(Kind.NOT_FOUND, text)
