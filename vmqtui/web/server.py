"""The web server: serves the page, the terminal's files, and a websocket per session; the gate checks all
requests."""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from importlib.resources import files
from string import Template
from time import monotonic
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from engine.logs import note
from vmqtui.web.connections import host_of
from vmqtui.web.gate import Gate
from vmqtui.web.session import DRIVER, VARIABLE, Wanted

SESSIONS: Final = 16
"""Limit of concurrent sessions; each has a process."""
MESSAGE_LIMIT_BYTES: Final = 1 << 20
_FAREWELL_S: Final = 5.0
_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PAGES: Final = {"page.js": "text/javascript", "page.css": "text/css"}


class SessionService(AppService):
    """Runs a session's process with textual-serve; passes its settings by the environment, and ensures that
    it ends."""

    def __init__(self, wanted: Wanted, **line: Any) -> None:
        super().__init__(f"{sys.executable} -m vmqtui.web.session", **line)
        self._wanted = wanted

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        environment = self._build_environment(width, height) | {
            "TEXTUAL_DRIVER": DRIVER,
            "TEXTUAL_FPS": "15",
            VARIABLE: msgspec.json.encode(self._wanted).decode(),
        }
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vmqtui.web.session"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=sys.platform != "win32",  # a Ctrl-C on the terminal must reach only the server
        )
        self._stdin = self._process.stdin
        return self._process

    async def stop(self) -> None:
        """Ask the process to end; kill it after a timeout."""
        process = self._process
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await super().stop()
                if process is not None:
                    await process.wait()
        except TimeoutError:
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


class DashboardServer(Server):
    """Serves one engine's dashboard to every client that the gate admits."""

    def __init__(self, gate: Gate, wanted: Wanted) -> None:
        super().__init__("vmqtui", public_url=gate.origins[0], title="vmqtui")
        self._gate = gate
        self._wanted = wanted
        self._sessions: set[web.WebSocketResponse] = set()
        self._cookie = "vmqtui"

    async def application(self, port: int) -> web.Application:
        """Build the aiohttp application of a server on ``port``."""
        self._cookie = f"vmqtui-{port}"  # cookies are per host: servers on other ports would share a name
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.on_response_prepare.append(self._be_strict)
        app.add_routes(
            [
                web.get("/", self.handle_index),
                web.get("/ws", self.handle_websocket),
                web.get("/download/{key}", self.handle_download),
                *(web.get(f"/{name}", self._handle_page) for name in _PAGES),
                web.static("/static", self.statics_path),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Middleware: pass on a request that the gate admits; refuse any other."""
        gate = self._gate
        origin = request.headers.get("Origin")
        refusal = gate.refusal(host_of(request), origin, own_page_only=request.path == "/ws")
        response: web.StreamResponse
        if refusal is not None:
            response = _refused(request, refusal)
        elif request.path == "/" and "token" in request.query:
            response = self._welcome(request)
        elif not gate.fits(request.cookies.get(self._cookie)):
            response = _refused(request, "open the address that vmqtui serve has printed")
        else:
            response = await handler(request)
        return response

    def _welcome(self, request: web.Request) -> web.Response:
        """Move the token from the URL into a cookie, so that it does not stay in the address bar."""
        token = request.query["token"]
        if not self._gate.fits(token):
            return _refused(request, "that is not the token; open the address that vmqtui serve has printed")
        note(_log, logging.INFO, "browser_admitted", peer=request.remote)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._cookie, token, httponly=True, samesite="Strict", secure=self._gate.secure, path="/"
        )
        return response

    async def _be_strict(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the security headers to every response."""
        response.headers.update(self._strict())

    def _strict(self) -> dict[str, str]:
        sockets = " ".join(origin.replace("http", "ws", 1) for origin in self._gate.origins)
        return {
            "Content-Security-Policy": "default-src 'none'; script-src 'self';"
            f" style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:;"
            f" connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }

    async def handle_index(self, request: web.Request) -> web.Response:
        """Serve the page; unlike textual-serve's, it loads nothing from other servers."""
        host = (host_of(request) or "").lower()
        origin = next(one for one in self._gate.origins if one.endswith(f"//{host}"))
        size = request.query.get("fontsize", "")
        page = Template(_page("page.html")).substitute(
            websocket=f"{origin.replace('http', 'ws', 1)}/ws",
            font_size=size if size.isascii() and size.isdigit() and 6 <= int(size[:4]) <= 60 else "15",
        )
        return web.Response(text=page, content_type="text/html")

    async def _handle_page(self, request: web.Request) -> web.Response:
        name = request.path.removeprefix("/")
        return web.Response(text=_page(name), content_type=_PAGES[name])

    # The base class returns a WebSocketResponse only; this also returns an error response.
    async def handle_websocket(self, request: web.Request) -> web.StreamResponse:  # type: ignore[override]
        """Run a session; its process ends with the websocket."""
        if len(self._sessions) >= SESSIONS:
            why = f"there are {SESSIONS} sessions already"
            note(_log, logging.WARNING, "session_refused", peer=request.remote, why=why)
            return web.Response(status=503, text=why)
        websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=MESSAGE_LIMIT_BYTES)
        self._sessions.add(websocket)
        began = monotonic()
        note(_log, logging.INFO, "session_began", peer=request.remote, sessions=len(self._sessions))
        try:
            await websocket.prepare(request)
            await self._session(request, websocket)
        finally:
            self._sessions.discard(websocket)
            note(
                _log,
                logging.INFO,
                "session_ended",
                peer=request.remote,
                seconds=round(monotonic() - began, 1),
                close_code=websocket.close_code,
                sessions=len(self._sessions),
            )
        return websocket

    async def close(self) -> None:
        """End every session."""
        await asyncio.gather(*(one.close(code=1001) for one in self._sessions), return_exceptions=True)

    async def _session(self, request: web.Request, websocket: web.WebSocketResponse) -> None:
        service = SessionService(
            self._wanted,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=websocket.close,
            download_manager=self.download_manager,
        )
        await service.start(
            _within(request.query.get("width"), 80, 20, 1000),
            _within(request.query.get("height"), 24, 5, 500),
        )
        try:
            async for message in websocket:
                if message.type == WSMsgType.TEXT:
                    await obey(message.data, service, websocket)
        finally:
            await service.stop()
            await websocket.close()


async def obey(text: str, service: SessionService, websocket: web.WebSocketResponse) -> None:
    """Process a message of the terminal: forward keys, size and focus; answer a ping; ignore any other."""
    try:
        kind, *rest = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return
    said = rest[0] if rest else None
    match kind, said:
        case "stdin", str():
            await service.send_bytes(said.encode("utf-8", "replace"))
        case "resize", {"width": width, "height": height}:
            await service.set_terminal_size(_within(width, 80, 20, 1000), _within(height, 24, 5, 500))
        case "ping", str():
            await websocket.send_json(["pong", said[:64]])
        case "blur", _:
            await service.blur()
        case "focus", _:
            await service.focus()


def _within(value: Any, default: int, least: int, most: int) -> int:
    try:
        return min(most, max(least, int(value)))
    except (TypeError, ValueError, OverflowError):
        return default


def _page(name: str) -> str:
    return files("vmqtui.web").joinpath(name).read_text(encoding="utf-8")


def _refused(request: web.Request, sentence: str) -> web.Response:
    """Log and return a refusal; the log has neither query nor cookies, which may contain a token."""
    note(_log, logging.WARNING, "browser_refused", peer=request.remote, path=request.path[:256], why=sentence)
    return web.Response(status=403, text=f"vmqtui: {sentence}\n")
