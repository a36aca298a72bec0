"""A TCP proxy on loopback that fails as it is told, in the manner of Toxiproxy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.bus.urls import BrokerUrl

Direction = Literal["up", "down"]
"""Up is to the broker, down is from it."""

_CHUNK_BYTES = 65536


@dataclass
class Cut:
    """A connection ends when so many bytes have gone in a direction; those before arrive."""

    direction: Direction
    after_bytes: int


@dataclass(eq=False)
class Passage:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    cut: Cut | None
    passed: dict[Direction, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    def end(self) -> None:
        for writer in (self.client, self.broker):
            writer.close()  # what was written before is still sent


class Proxy:
    """Passes bytes between its clients and a broker, or does not.

    ``cut_next`` is for the next connection only. ``stalled`` directions pass nothing and keep the connection
    (nobody is told); ``latency_s`` delays every chunk; ``bytes_per_second`` bounds each direction;
    ``refuse`` closes the port and ends what is connected until ``accept``.
    """

    def __init__(self, broker: BrokerUrl) -> None:
        self.broker = broker
        self.cut_next: Cut | None = None
        self.latency_s = 0.0
        self.bytes_per_second: float | None = None
        self.connections = 0
        self.passages: set[Passage] = set()
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        """Bytes of the newest connection."""
        self._flowing = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0
        self.flow()

    @property
    def url(self) -> BrokerUrl:
        """What to connect to instead of the broker."""
        return replace(self.broker, host="127.0.0.1", port=self._port)

    async def accept(self) -> None:
        """Listen, on the same port each time."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse connections, and end those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()

    def drop(self) -> None:
        """End all connections."""
        for passage in list(self.passages):
            passage.end()

    def stall(self, *directions: Direction) -> None:
        """Pass nothing on, in some directions or in both."""
        for direction in directions or ("up", "down"):
            self._flowing[direction].clear()

    def flow(self) -> None:
        """Pass everything on again."""
        for event in self._flowing.values():
            event.set()

    async def close(self) -> None:
        self.flow()
        await self.refuse()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        cut, self.cut_next = self.cut_next, None
        self.connections += 1
        try:
            from_broker, to_broker = await asyncio.open_connection(self.broker.host, self.broker.port)
        except OSError:
            writer.close()
            self._tasks.discard(task)
            return
        passage = Passage(writer, to_broker, cut)
        self.passages.add(passage)
        self.passed = passage.passed
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(passage, "up", reader, to_broker))
                group.create_task(self._pass(passage, "down", from_broker, writer))
        finally:
            passage.end()
            self.passages.discard(passage)
            self._tasks.discard(task)

    async def _pass(
        self, passage: Passage, way: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        left = passage.cut.after_bytes if passage.cut and passage.cut.direction == way else None
        with contextlib.suppress(OSError):
            while left is None or left > 0:
                data = await reader.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
                if not data:
                    break
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                if self.bytes_per_second:
                    await asyncio.sleep(len(data) / self.bytes_per_second)
                await self._flowing[way].wait()
                writer.write(data)
                await writer.drain()
                passage.passed[way] += len(data)
                if left is not None:
                    left -= len(data)
        passage.end()


@contextlib.asynccontextmanager
async def proxied(broker: BrokerUrl) -> AsyncIterator[Proxy]:
    """A proxy that listens."""
    proxy = Proxy(broker)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()
