"""Asking a CA for an operation, at whatever path it keeps it."""

from __future__ import annotations

import math
from functools import partial

from kipuka.authority.dogtag import outcome, wire
from kipuka.authority.dogtag.client import Client
from kipuka.authority.dogtag.paths import Operation, Paths


class Calls:
    """The operations of one CA over one client. What is learned about its paths may be shared with others."""

    def __init__(self, client: Client, paths: Paths) -> None:
        self._client = client
        self._paths = paths

    async def __call__(
        self,
        operation: Operation,
        value: str = "",
        body: bytes | None = None,
        *,
        query: str = "",
        limit: int | None = None,
        send_before: float = math.inf,
    ) -> wire.Answer:
        """Try the candidate paths in order; only "nothing listens there" leads to the next, also for a POST.

        :param value: what goes into the path.
        :param body: None: GET.
        :param limit: bytes of the answer.
        :return: the answer, whatever its status.
        :raises AuthorityError: there is none.
        """
        answer = None
        get = self._client.get if limit is None else partial(self._client.get, limit=limit)
        for position, path in enumerate(self._paths.candidates(operation, value)):
            path += query
            if body is None:
                answer = await get(path)
            elif operation is Operation.SEARCH:
                answer = await self._client.search(path, body)
            else:
                answer = await self._client.post(path, body, send_before)
            if not outcome.no_such_path(answer):
                self._paths.answered(operation, position)
                return answer
        assert answer is not None  # noqa: S101 - every operation has a candidate
        return answer
