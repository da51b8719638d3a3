"""The root of a listener: who gets a request."""

from __future__ import annotations

from typing import cast

import pytest
from twisted.web.resource import IResource, Resource
from twisted.web.test.requesthelper import DummyRequest

from kipuka.web.http.tree import Tree


class _Room(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ([b"health", b"ca"], "health"),
        ([b"health"], "health"),
        ([b".well-known", b"est", b"cacerts"], "est"),
        ([b"health", b".well-known", b"est", b"cacerts"], "est"),
        ([b"elsewhere"], "est"),
        ([b""], "est"),
    ],
)
def test_the_first_segment_names_the_room_and_the_room_sees_the_whole_path(path: list[bytes], room: str) -> None:
    rooms: dict[str, IResource] = {"est": cast("IResource", _Room()), "health": cast("IResource", _Room())}
    request = DummyRequest(list(path))
    first = request.postpath.pop(0)
    request.prepath.append(first)

    found = Tree(rooms["est"], {b"health": rooms["health"]}).getChild(first, request)

    assert found is rooms[room]
    assert (request.prepath, request.postpath) == ([], path)
