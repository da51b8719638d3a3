"""``GET /crl/<ca id>``: the CRLs of kipuka's own CAs (RFC 5280 §5, media type of RFC 2585 §4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from kipuka.web.http import json_answers
from kipuka.web.http.answers import Answer, prepare
from kipuka.web.http.received import field

_SEGMENTS = 2
_MAX_AGE = 60
"""Seconds for which caches need not ask: a revocation is to be seen soon, and asking costs little."""


@dataclass(frozen=True)
class Crl:
    """One CRL in DER, its number and its thisUpdate."""

    number: int
    der: bytes
    issued: datetime


class Crls(Resource):
    """Serves what is in force at each moment, to anybody: a CRL is public.

    :param lists: by CA id.
    """

    isLeaf = True  # noqa: N815 - Twisted's

    def __init__(self, lists: Mapping[str, Callable[[], Crl | None]]) -> None:
        super().__init__()
        self._lists = lists

    def render(self, request: Request) -> int:
        """Answer (Twisted's interface). Written here: returned, a 304 would be given the length of its empty body."""
        request.write(prepare(request, self._answer(request)))
        request.finish()
        return NOT_DONE_YET

    def _answer(self, request: Request) -> Answer:
        path = request.postpath or []  # the whole of it: kipuka.web.http.tree
        find = self._lists.get(path[1].decode("utf-8", "replace")) if len(path) == _SEGMENTS else None
        crl = None if find is None else find()
        if crl is None:
            sentence = "There is no CRL here: /crl/ is followed by the id of a CA whose key is kipuka's own."
            return json_answers.error(404, json_answers.code_of(404), sentence)
        if request.method not in (b"GET", b"HEAD"):
            sentence = "Use GET or HEAD at this address."
            return json_answers.error(405, json_answers.code_of(405), sentence, ("Allow", "GET, HEAD"))
        tag = f'"{crl.number:x}-{hashlib.sha256(crl.der).hexdigest()[:16]}"'
        fields = (
            ("ETag", tag),
            ("Last-Modified", format_datetime(crl.issued, usegmt=True)),
            ("Cache-Control", f"public, max-age={_MAX_AGE}"),
        )
        if _is_known(field(request, "if-none-match") or "", tag):
            return Answer(304, headers=fields)
        return Answer(200, "application/pkix-crl", crl.der, fields)


def _is_known(known: str, tag: str) -> bool:
    """Whether If-None-Match names the tag (RFC 9110 §13.1.2). Last-Modified has whole seconds, which is too coarse."""
    return tag in (each.strip().removeprefix("W/") for each in known.split(",")) or known.strip() == "*"
