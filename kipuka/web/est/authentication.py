"""HTTP Basic (RFC 7617): reading the header, and checking passwords in threads without drowning in them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.web.http import Request

from kipuka.access.credentials.users import LONGEST, wrong_credentials
from kipuka.errors import Kind, RequestError

T = TypeVar("T")
InThread = Callable[[Callable[[], T]], Deferred[T]]

CONCURRENT = 2
"""Password checks at a time: each takes tens of milliseconds and tens of MiB."""
WAITING = 64
"""Password checks that may wait; more get 503."""
_LONGEST = 4 * -(-LONGEST // 3)
"""Characters of base64."""


class PasswordFile(Protocol):
    """What is needed of :class:`kipuka.access.credentials.users.Users`."""

    def verify(self, name: str, password: str) -> None:
        """Block until known, and raise RequestError when wrong."""


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Name and password, or None when the request has no Basic credentials.

    :raises RequestError: when there are some that cannot be read.
    """
    header = request.getHeader(b"authorization")
    scheme, _, value = header.partition(b" ") if header is not None else (b"", b"", b"")
    if scheme.lower() != b"basic":
        return None
    if len(value) > _LONGEST:
        raise wrong_credentials()
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise wrong_credentials() from None
    if not colon:
        raise wrong_credentials()
    return name, password


def wants_bare_challenge(request: Request) -> bool:
    """Whether a 401 to this request must go out without a body.

    Bouncy Castle asks without its password first, and gives up when the 401 has a body, for it closes a stream that it
    has not read (1.72, ESTResponse). It is known by what it does not send; a person with curl gets the sentence.
    """
    return not any(request.requestHeaders.hasHeader(name) for name in ("Authorization", "User-Agent", "Accept"))


class Passwords:
    """Checks passwords off the reactor's thread, a few at a time.

    :param users: the password file; None knows nobody.
    :param in_thread: runs a function in a thread.
    """

    def __init__(self, users: PasswordFile | None, in_thread: InThread[None]) -> None:
        self._users = users
        self._in_thread = in_thread
        self._slots = DeferredSemaphore(CONCURRENT)

    async def verify(self, name: str, password: str) -> str:
        """Return the name of a user who knows the password.

        :raises RequestError: UNAUTHENTICATED when wrong, BUSY when too many are waiting.
        """
        users = self._users
        if users is None:
            raise wrong_credentials()
        if len(self._slots.waiting) >= WAITING:
            raise RequestError(Kind.BUSY, "Too many passwords are being checked: try again shortly.")
        # A client that goes away ends the waiting, but not the work: its slot is free when the thread is.
        checked: Deferred[None] = Deferred()
        self._slots.run(self._in_thread, lambda: users.verify(name, password)).chainDeferred(checked)
        await checked
        return name
