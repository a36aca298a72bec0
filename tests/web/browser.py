"""Headless Chromium, driven by its DevTools protocol over a websocket: nothing else has to be installed."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from vmqtui.testing import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
    "--remote-debugging-port=0",
)


class Page:
    """A tab. ``requests`` are the addresses it asked for, ``drawn`` what came over its websockets."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self._news = asyncio.Event()
        self.requests: list[str] = []
        self.drawn = ""
        self.errors: list[str] = []

    async def listen(self) -> None:
        """Take in what the browser says, until it has ended."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
                continue
            self._hear(said.get("method"), said.get("params", {}))
            self._news.set()

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(params["url"])
            case "Network.webSocketFrameReceived" if params["response"]["opcode"] == 2:
                self.drawn += base64.b64decode(params["response"]["payloadData"]).decode("utf-8", "replace")
            case "Log.entryAdded":
                self.errors.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(params["exceptionDetails"]))

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something; its answer."""
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        async with asyncio.timeout(60):
            said = await answer
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to an address."""
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.ask(f"{domain}.enable")
        await self.ask("Page.navigate", url=url)

    async def press(self, key: str) -> None:
        """Type a character."""
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text=key, key=key, unmodifiedText=key)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    async def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode((await self.ask("Page.captureScreenshot", format="png"))["data"])

    async def shows(self, *words: str) -> None:
        """Wait until all of these words were drawn."""
        await until(
            lambda: all(word in self.drawn for word in words),
            what=f"{words} in the page",
            seen=lambda: f"errors: {self.errors}; drawn: {self.drawn[-300:]!r}",
            between=self._message,
        )

    async def _message(self) -> None:
        """Wait for a message of the browser."""
        await self._news.wait()
        self._news.clear()


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """A page of a Chromium of its own."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while "DevTools listening on" not in (line := (await process.stderr.readline()).decode()):
                assert line, "Chromium ended"
        port = line.rsplit(" ", 1)[1].split("/")[2]
        reading = asyncio.ensure_future(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{port}/json/list") as listed:
                tab = next(one for one in await listed.json() if one["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.ensure_future(page.listen())
                try:
                    yield page
                finally:
                    listening.cancel()
        reading.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
