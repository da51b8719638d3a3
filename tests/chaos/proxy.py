"""A TCP proxy that passes, stalls or cuts connections after an exact number of bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.chaos.schedule import Action, Direction, Treatment

_PIECE = 16 * 1024
_START_TIMEOUT = 10


class Proxy:
    """Forwards 127.0.0.1:port to a target, in a thread of its own; a context manager.

    :param treat: the treatment of the connection with that index, counted from 0 in the order of their arrival.
    """

    def __init__(self, target: tuple[str, int], treat: Callable[[int], Treatment], *, port: int = 0) -> None:
        self._target = target
        self._treat = treat
        self.port = port
        self.connections = 0
        self.unreachable = 0
        """Connections that ended at once because the target took none."""
        self.bytes: Counter[Direction] = Counter()
        self.actions: Counter[Action] = Counter()
        """What was really done; a connection that ends before its number of bytes counts nowhere."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._listening = threading.Event()
        self._failure: BaseException | None = None
        self._done: asyncio.Event | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def cuts(self) -> int:
        """Connections that were cut."""
        return self.actions[Action.FIN] + self.actions[Action.RESET]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(_START_TIMEOUT) or self._failure is not None:
            raise RuntimeError("The proxy does not listen.") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(_START_TIMEOUT)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as failure:  # handed to the thread that waits for us
            self._failure = failure
        finally:
            self._listening.set()
            self._loop.close()

    def shut(self) -> None:
        """Refuse new connections, as a host does whose server has died; those that are open go on."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(_START_TIMEOUT)

    def open(self) -> None:
        """Take connections again, at the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START_TIMEOUT)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        await self._listen()
        self._listening.set()
        await self._done.wait()
        await self._shut()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connection(reader, writer))
        self._open.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._open.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        treatment = self._treat(self.connections)
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target)
        except OSError:
            self.unreachable += 1
            _reset(writer)
            return
        pair = (writer, up_writer)
        try:
            for each in pair:
                each.transport.set_write_buffer_limits(0)  # drain() then means: the kernel has it all
            await asyncio.gather(
                self._pump(reader, up_writer, Direction.UP, treatment, pair),
                self._pump(up_reader, writer, Direction.DOWN, treatment, pair),
            )
        except (OSError, asyncio.CancelledError):
            for each in pair:
                _reset(each)
        finally:
            for each in pair:
                each.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        direction: Direction,
        treatment: Treatment,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        """Move bytes of one direction until their end, the treatment applied on the way."""
        until = treatment.after if treatment.direction is direction and treatment.action is not Action.PASS else None
        passed = 0
        while data := await source.read(_PIECE):
            if until is not None and passed + len(data) > until:
                head, data = data[: until - passed], data[until - passed :]
                until = None
                await self._forward(head, sink, direction)
                self.actions[treatment.action] += 1
                if treatment.action is not Action.STALL:
                    _cut(treatment.action, pair)
                    return
                await asyncio.sleep(treatment.seconds)
            passed += len(data)
            await self._forward(data, sink, direction)
        if sink.can_write_eof() and not sink.is_closing():
            sink.write_eof()

    async def _forward(self, data: bytes, sink: asyncio.StreamWriter, direction: Direction) -> None:
        sink.write(data)
        await sink.drain()
        self.bytes[direction] += len(data)


def _cut(action: Action, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
    """End both halves: by FIN, or by RST, which also takes away what the peer has not read yet."""
    for each in pair:
        if action is Action.RESET:
            _reset(each)
        else:
            each.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
