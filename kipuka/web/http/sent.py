"""When an answer is out: its last byte is the kernel's, and the connection is still up.

To Twisted a request is finished when its last byte was written to the transport, and that byte may never be sent: it
lies in a buffer of TLS, then in one of the socket, and the connection may have ended already without the reactor
having seen it. Nobody tells when the buffers are empty, so they are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IDelayedCall
from twisted.protocols.tls import BufferingTLSTransport

_TURNS = 4
"""How many turns of the reactor are looked at one by one. Nearly every answer needs two: TLS hands it on in the first,
and the kernel has room for it. A client that has it may close at once, and is not seen to close before the look."""
_PAUSE = 0.1
"""Seconds between further looks, at a connection whose client does not read. The idle timeout ends it, and them."""


class Outgoing:
    """What was written to one connection and has not been sent.

    :param transport: the connection's uppermost layer.
    :param later: calls a function after so many seconds.
    """

    def __init__(self, transport: object, later: Callable[[float, Callable[[], None]], IDelayedCall]) -> None:
        self._transport = transport
        self._later = later
        self._waiting: list[Callable[[], None]] = []
        self._looks = 0
        self._next: IDelayedCall | None = None

    def when_sent(self, then: Callable[[], None]) -> None:
        """Have it called once all that was written so far has been sent; never, if the connection ends before that."""
        self._waiting.append(then)
        self._looks = 0
        self._look()

    def lost(self) -> None:
        """Take note that the connection has ended."""
        self._waiting.clear()
        self._cancel()

    def _look(self) -> None:
        self._cancel()
        if is_sent(self._transport):
            waiting, self._waiting = self._waiting, []
            for then in waiting:
                then()
            return
        self._looks += 1
        self._next = self._later(0 if self._looks <= _TURNS else _PAUSE, self._look)

    def _cancel(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None


def is_sent(transport: object) -> bool:
    """Tell whether no layer of a connection has anything left to send."""
    return not any(map(_keeps, _layers(transport)))


def _layers(transport: object) -> Iterator[object]:
    """TLS first, the socket last."""
    while transport is not None:
        yield transport
        transport = getattr(transport, "transport", None)


def _keeps(layer: object) -> bool:
    """Whether it has something left. Twisted's names for that are private; tests with real sockets hold them to it."""
    if isinstance(layer, BufferingTLSTransport):
        return bool(layer._appSendBuffer or getattr(layer._aggregator, "_buffer", True))  # noqa: SLF001
    if isinstance(layer, FileDescriptor):
        # One that is to be closed was given up by TLS, and what TLS is given after that it drops.
        return bool(layer.disconnecting or layer.dataBuffer or layer._tempDataBuffer)  # noqa: SLF001
    return False
