"""What stands beside a Dogtag CA and is only watched: the KRA, which keeps keys, and the TPS, which manages tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from twisted.web.iweb import IPolicyForHTTPS

from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.errors import AuthorityError


class Subsystem:
    """One of them, at a URL of its own.

    :param name: what it is called in front of people.
    :param paths: where it is asked; only "nothing listens there" leads to the next.
    :param is_well: whether an answer is that of one that works.
    """

    def __init__(self, client: Client, name: str, paths: tuple[str, ...], is_well: Callable[[Answer], bool]) -> None:
        self._client = client
        self._name = name
        self._paths = paths
        self._is_well = is_well

    @classmethod
    def open(cls, make: Callable[[Client], Self], reactor: Any, url: str, policy: IPolicyForHTTPS) -> Self:
        """Return the subsystem at a URL: ``Subsystem.open(Subsystem.kra, ...)``. Nothing is sent yet.

        :param policy: trust and agent certificate, see :class:`kipuka.tls.client.ClientPolicy`.
        """
        return make(Client.open(reactor, url, policy, max_connections=1))

    @classmethod
    def kra(cls, client: Client) -> Self:
        """A KRA, asked for the keys of a client that it has none of: that needs an agent, and its directory."""
        query = "?clientKeyID=kipuka-probe&size=1"
        paths = (f"/kra/rest/agent/keys{query}", f"/kra/v1/agent/keys{query}")
        return cls(client, "KRA", paths, lambda answer: answer.status == 200 and answer.is_json)

    @classmethod
    def tps(cls, client: Client) -> Self:
        """A TPS, asked whether it runs. For more than that one has to be an agent of it, which kipuka need not be."""
        running = b"running"
        return cls(client, "TPS", ("/tps/admin/tps/getStatus",), lambda it: it.status == 200 and running in it.body)

    async def probe(self) -> None:
        """Ask whether it works.

        :raises AuthorityError: it does not, or not for kipuka's agent.
        """
        try:
            await self._ask()
        except AuthorityError as trouble:
            text = f"The {self._name} beside the CA does not work: tell the administrator, who finds why in the log."
            raise AuthorityError(trouble.kind, text, trouble.cause) from trouble

    async def _ask(self) -> None:
        for path in self._paths:
            answer = await self._client.get(path)
            if not outcome.no_such_path(answer):
                break
        if not self._is_well(answer):
            raise outcome.failure(answer)

    async def close(self) -> None:
        """Close the idle connection."""
        await self._client.close()
