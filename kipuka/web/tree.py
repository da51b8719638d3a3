"""What lives at the root of a listener: rooms by their first path segment, and EST for everything else."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource, getChildForRequest


class Tree(Resource):
    """Hands a request to the room named by its first path segment, whole.

    ``/<label>/.well-known/est/...`` belongs to EST whatever the label's name is.

    :param est: takes what no room is named for.
    :param rooms: by segment, such as ``b"health"``.
    """

    def __init__(self, est: IResource, rooms: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._est = est
        self._rooms = dict(rooms)

    def getChild(self, path: bytes, request: IRequest) -> IResource:
        """Choose the room (Twisted's interface); it sees the whole path."""
        rest: list[bytes] = request.postpath
        room = self._est if rest[:1] == [b".well-known"] else self._rooms.get(path, self._est)
        rest.insert(0, path)
        request.prepath.pop()
        found: IResource = getChildForRequest(room, request)
        return found
