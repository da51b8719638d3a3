"""A place where there is nothing, and where programs are told so in JSON."""

from __future__ import annotations

from twisted.web.http import Request
from twisted.web.resource import Resource

from kipuka.web.http import json_answers
from kipuka.web.http.answers import prepare


class Nothing(Resource):
    """Answers 404 to everything.

    :param sentence: for a person: what is not here, and what to do.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._answer = json_answers.error(404, json_answers.code_of(404), sentence)

    def render(self, request: Request) -> bytes:
        """Answer (Twisted's interface)."""
        return prepare(request, self._answer)
