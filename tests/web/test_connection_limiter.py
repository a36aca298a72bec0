"""How many connections a web server takes, and which make room when there are more."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest
from aiohttp import web

from vmqtui.web import connections
from vmqtui.web.connections import RUNNER, ConnectionLimiter, listen_on

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /quick HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"


class Served:
    """A server behind a limiter: /quick answers at once, /slow when ``go_on`` is set."""

    def __init__(self) -> None:
        self.at_work, self.go_on = asyncio.Event(), asyncio.Event()
        self.port = 0

    async def quick(self, request: web.Request) -> web.Response:
        return web.Response(text="quick")

    async def slow(self, request: web.Request) -> web.Response:
        self.at_work.set()
        await self.go_on.wait()
        return web.Response(text="slow")

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        yield reader, writer
        writer.close()

    async def ask(self) -> None:
        """Send a request and receive its answer."""
        async with self.connected() as (reader, writer):
            writer.write(GET % b"/quick")
            assert b"200 OK" in await reader.readuntil(b"quick")


@asynccontextmanager
async def serving(limit: int) -> AsyncIterator[tuple[Served, ConnectionLimiter]]:
    served = Served()
    app = web.Application()
    app.add_routes([web.get("/quick", served.quick), web.get("/slow", served.slow)])
    runner = web.AppRunner(app, **RUNNER)
    await runner.setup()
    listening = listen_on("127.0.0.1", 0)
    served.port = listening[0].getsockname()[1]
    try:
        async with asyncio.timeout(60), ConnectionLimiter(runner.server, listening, limit) as limiter:
            yield served, limiter
    finally:
        await runner.cleanup()


async def test_a_silent_connection_makes_room_and_one_that_is_served_stays() -> None:
    async with serving(3) as (served, limiter), AsyncExitStack() as stack:
        slow, asking = await stack.enter_async_context(served.connected())
        asking.write(GET % b"/slow")
        await served.at_work.wait()
        idle = [(await stack.enter_async_context(served.connected()))[0] for _ in range(5)]
        await served.ask()
        for first in idle[:4]:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await first.readexactly(1)
        assert limiter.closed == 4
        served.go_on.set()
        assert b"200 OK" in await slow.readuntil(b"slow")


async def test_a_connection_that_never_asked_goes_before_one_that_was_answered() -> None:
    async with serving(2) as (served, _), AsyncExitStack() as stack:
        answered, asking = await stack.enter_async_context(served.connected())
        asking.write(GET % b"/quick")
        await answered.readuntil(b"quick")
        silent, _ = await stack.enter_async_context(served.connected())
        await served.ask()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await silent.readexactly(1)
        asking.write(GET % b"/quick")
        assert b"200 OK" in await answered.readuntil(b"quick")


async def test_a_request_whose_body_does_not_come_holds_no_connection() -> None:
    async with serving(8) as (served, _), served.connected() as (reader, writer):
        writer.write(POST)
        answer = await reader.read()  # to its end
        assert answer.startswith(b"HTTP/1.1 405")


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """This process may have 100 descriptors more than it has; how many."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = psutil.Process().num_fds() + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


CLIENTS = """
import resource, socket, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
flood = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(300)]
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
async def test_a_flood_takes_no_more_than_half_of_the_descriptors_and_requests_are_answered(
    few_descriptors: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(256) as (served, limiter):
        flood = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CLIENTS, str(served.port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert flood.stdin is not None
        assert flood.stdout is not None
        assert await flood.stdout.readline() == b"connected\n"
        for _ in range(3):
            await served.ask()
        assert len(limiter._open()) <= few_descriptors // 2
        assert limiter.closed >= 300 - few_descriptors // 2
        flood.stdin.close()
        await flood.wait()
    events = [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert events == ["connections_full"]


async def test_without_descriptors_it_waits_in_silence_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(8) as (served, _):
        event_loop, failures = asyncio.get_running_loop(), iter(range(5))
        accept = event_loop.sock_accept

        async def scarce(listener: object) -> object:
            if next(failures, None) is not None:
                raise OSError(24, "Too many open files")
            # A stand-in passes what it is given.
            return await accept(listener)  # type: ignore[arg-type]

        monkeypatch.setattr(event_loop, "sock_accept", scarce)
        monkeypatch.setattr(connections, "_PAUSE_S", 0.0)
        await served.ask()
        await served.ask()
    assert [record.message for record in caplog.records] == ["connections_full"]


def test_a_name_is_listened_on_at_all_its_addresses_and_one_port() -> None:
    bound = listen_on("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in bound}) == 1
        with pytest.raises(OSError, match="in use"):
            listen_on("localhost", bound[0].getsockname()[1])
    finally:
        for one in bound:
            one.close()
