"""Asking a CA for an operation, at whatever path it keeps it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.rest.paths import Operation, Paths
from kipuka.errors import AuthorityError

Observe = Callable[[str, str, float], None]
"""Told each call to the CA: operation, ``2xx`` to ``5xx`` or the kind of the error, seconds."""


def nobody(_operation: str, _outcome: str, _seconds: float) -> None:
    """Keep it to oneself: the :data:`Observe` of a CA that nobody watches."""


class Calls:
    """The operations of one CA over one client. What is learned about its paths may be shared with others.

    :param observe: for the metrics; a call that is repeated because its connection had died counts once.
    """

    def __init__(self, client: Client, paths: Paths, clock: IReactorTime, observe: Observe = nobody) -> None:
        self._client = client
        self._paths = paths
        self._clock = clock
        self._observe = observe

    async def __call__(
        self,
        operation: Operation,
        value: str = "",
        body: bytes | None = None,
        *,
        query: str = "",
        limit: int | None = None,
        send_before: float = math.inf,
        at_once: bool = False,
    ) -> wire.Answer:
        """Try the candidate paths in order; only "nothing listens there" leads to the next, also for a POST.

        :param value: what goes into the path.
        :param body: None: GET.
        :param limit: bytes of the answer.
        :param at_once: a GET that does not queue for a connection.
        :return: the answer, whatever its status.
        :raises AuthorityError: there is none.
        """
        answer = None
        get = partial(self._client.get, at_once=at_once)
        if limit is not None:
            get = partial(get, limit=limit)
        for position, path in enumerate(self._paths.candidates(operation, value)):
            path += query
            if body is None:
                answer = await self._observed(operation, get(path))
            elif operation is Operation.SEARCH:
                answer = await self._observed(operation, self._client.search(path, body))
            else:
                answer = await self._observed(operation, self._client.post(path, body, send_before))
            if not outcome.no_such_path(answer):
                self._paths.answered(operation, position)
                return answer
        assert answer is not None  # noqa: S101 - every operation has a candidate
        return answer

    async def _observed(self, operation: Operation, call: Awaitable[wire.Answer]) -> wire.Answer:
        began = self._clock.seconds()
        try:
            answer = await call
        except AuthorityError as trouble:
            self._observe(operation.value, trouble.kind.value, self._clock.seconds() - began)
            raise
        self._observe(operation.value, f"{answer.status // 100}xx", self._clock.seconds() - began)
        return answer
