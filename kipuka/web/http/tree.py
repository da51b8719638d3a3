"""What lives at the root of a listener: rooms by their first path segment, and EST for everything else."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource, getChildForRequest

from kipuka.web.http.nothing import Nothing


class Tree(Resource):
    """Hands a request to the room named by its first path segment, whole.

    ``/<label>/.well-known/est/...`` belongs to EST whatever the label's name is.

    :param est: takes what no room is named for; :class:`~kipuka.web.http.nothing.Nothing` where there is no EST.
    :param rooms: by segment, such as ``b"health"``.
    """

    def __init__(self, est: IResource, rooms: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._est = est
        self._rooms = dict(rooms)

    def speaks_json(self, path: bytes) -> bool:
        """Whether a request's path leads to something that answers in JSON, as all do that are not EST."""
        segments = path.partition(b"?")[0].split(b"/")[1:3]
        is_room = segments[:1] and segments[0] in self._rooms and segments[1:] != [b".well-known"]
        return bool(is_room) or isinstance(self._est, Nothing)

    def getChild(self, path: bytes, request: IRequest) -> IResource:
        """Choose the room (Twisted's interface); it sees the whole path."""
        rest: list[bytes] = request.postpath
        room = self._est if rest[:1] == [b".well-known"] else self._rooms.get(path, self._est)
        rest.insert(0, path)
        request.prepath.pop()
        found: IResource = getChildForRequest(room, request)
        return found
