"""How many connections a web server takes, and whose goes when there are more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from vmqtui.web.crowd import Crowd

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()


async def test_who_asks_for_nothing_makes_room_and_who_is_served_stays() -> None:
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def quick(request: web.Request) -> web.Response:
        return web.Response(text="quick")

    async def slow(request: web.Request) -> web.Response:
        at_work.set()
        await go_on.wait()
        return web.Response(text="slow")

    app = web.Application()
    app.add_routes([web.get("/quick", quick), web.get("/slow", slow)])
    runner = web.AppRunner(app)
    await runner.setup()
    crowd = Crowd(runner.server, 3)
    server = await asyncio.get_running_loop().create_server(crowd, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(10), AsyncExitStack() as stack:
            served, asking = await stack.enter_async_context(connected(port))
            asking.write(GET % b"/slow")
            await at_work.wait()
            idle = [(await stack.enter_async_context(connected(port)))[0] for _ in range(5)]
            for first in idle[:3]:
                assert await first.read() == b""
            newest, asking = await stack.enter_async_context(connected(port))
            asking.write(GET % b"/quick")
            assert b"200 OK" in await newest.readuntil(b"quick")
            go_on.set()
            assert b"200 OK" in await served.readuntil(b"slow")
    finally:
        server.close()
        await runner.cleanup()
