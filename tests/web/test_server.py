"""The server, asked over real sockets: what is let in, what is sent with it, what a terminal may say."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from engine.logs import DIRECTORY_VARIABLE
from vmqtui.testing import until
from vmqtui.web.gate import Gate
from vmqtui.web.server import MESSAGE_LIMIT_BYTES, SESSIONS, DashboardServer
from vmqtui.web.session import VARIABLE, Wanted

NOWHERE = Wanted("mqtt://reader:opensesame@127.0.0.1:9")
PATHS = ("/", "/ws", "/page.js", "/page.css", "/static/js/textual.js", "/static/", "/download/x", "/nothing")


class Served:
    """A server on a free port, and a client that has or has not the cookie."""

    def __init__(self, gate: Gate, server: DashboardServer, port: int) -> None:
        self.gate = gate
        self.server = server
        self.base = f"http://127.0.0.1:{port}"
        self.cookies = {f"vmqtui-{port}": gate.token}
        self.own = {"Origin": gate.origins[0]}


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    gate = Gate.at("127.0.0.1", port)
    server = DashboardServer(gate, NOWHERE)
    runner = web.AppRunner(await server.application(port), shutdown_timeout=2)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    yield Served(gate, server, port)
    await server.close()
    await runner.cleanup()


async def get(url: str, **options: Any) -> tuple[int, str, Mapping[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, allow_redirects=False, **options) as answer,
    ):
        return answer.status, await answer.text(errors="replace"), answer.headers


@pytest.mark.parametrize("path", PATHS)
async def test_without_the_cookie_nothing_is_told(served: Served, path: str) -> None:
    status, text, _ = await get(served.base + path, headers=served.own)
    assert (status, text) == (403, "vmqtui: open the address that vmqtui serve has printed\n")


@pytest.mark.parametrize("path", PATHS)
async def test_another_name_or_page_is_refused_even_with_the_cookie(served: Served, path: str) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        status, _, _ = await get(served.base + path, headers=headers, cookies=served.cookies)
        assert status == 403


async def test_the_token_becomes_a_cookie_and_leaves_the_address(served: Served) -> None:
    status, _, headers = await get(served.gate.url)
    assert status == 303
    assert headers["Location"] == "/"
    cookie = headers["Set-Cookie"]
    assert served.gate.token in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert (await get(served.base + "/?token=guess"))[0] == 403


async def test_the_page_asks_for_nothing_from_outside(served: Served) -> None:
    status, text, headers = await get(served.base + "/", cookies=served.cookies)
    assert status == 200
    assert "https://" not in text
    assert text.count("http") == 0
    assert f"ws://{served.base.removeprefix('http://')}/ws" in text
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    for path in ("/page.js", "/page.css"):
        assert "http" not in (await get(served.base + path, cookies=served.cookies))[1]


async def test_every_answer_is_strict(served: Served) -> None:
    for path in PATHS:
        _, _, headers = await get(served.base + path, cookies=served.cookies, headers=served.own)
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://127.0.0.1:PORT/", 200),
        ("http://LOCALHOST:PORT/", 200),
        ("http://127.0.0.1/", 403),
        ("http://other.example:PORT/", 403),
        ("http://u:p@127.0.0.1:PORT/", 403),
        ("http:///", 400),
        ("//127.0.0.1:PORT/", 404),
    ],
)
async def test_a_whole_url_as_target_is_held_to_the_same_rules(
    served: Served, target: str, status: int
) -> None:
    port = served.base.rpartition(":")[2]
    (name, token), *_ = served.cookies.items()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    lines = [
        f"GET {target.replace('PORT', port)} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Cookie: {name}={token}",
        "Connection: close",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] == str(status).encode()


@pytest.mark.parametrize("size", ["", "0", "5", "99", "x", "-3", "1e3", "٣٠", "9" * 5000, '"><script>'])
async def test_odd_font_sizes_change_nothing(served: Served, size: str) -> None:
    _, text, _ = await get(served.base + "/", params={"fontsize": size}, cookies=served.cookies)
    assert 'data-font-size="15"' in text


async def test_a_websocket_of_another_page_is_refused(served: Served) -> None:
    async with aiohttp.ClientSession(cookies=served.cookies) as session:
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(served.base + "/ws", headers=headers)
            assert refused.value.status == 403


@pytest.mark.slow
async def test_a_session_shows_the_dashboard_takes_odd_messages_and_ends_with_its_socket(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves alone what the server's user chose on a screen: somebody else may look through it."""
    config, state = tmp_path / "config.toml", tmp_path / "config.state.json"
    config.touch()
    kept = '{"schema": "vmq.state/1", "tables": {"overview-queues": {"filter": "chosen-elsewhere"}}}'
    state.write_text(kept, encoding="utf-8")
    monkeypatch.setenv("VMQTUI_CONFIG", str(config))
    monkeypatch.setenv("VMQTUI_NO_STATE", "0")
    drawn = b""
    async with aiohttp.ClientSession(cookies=served.cookies) as session:
        url = served.base + "/ws?width=100000&height=x"
        async with session.ws_connect(url, headers=served.own, max_msg_size=0) as line:
            for odd in (
                "",
                "{",
                "[]",
                "[1]",
                '["stdin"]',
                '["stdin", 3]',
                '["resize", {}]',
                "[" * 5000,
                '"x"',
            ):
                await line.send_str(odd)
            await line.send_str('["resize", {"width": 100, "height": "NaN"}]')
            await line.send_str('["ping", "7"]')
            for words in (b"Overview", b"Help"):
                while words not in drawn:
                    message = await line.receive(30)
                    assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
                    drawn += message.data if isinstance(message.data, bytes) else b""
                await line.send_str('["stdin", "t?"]')
            (child,) = sessions()
            assert not any("opensesame" in part for part in child.cmdline())
            if sys.platform.startswith("linux"):
                assert "opensesame" in child.environ()[VARIABLE]
    assert b"read-only" in drawn
    assert b"chosen-elsewhere" not in drawn
    assert state.read_text(encoding="utf-8") == kept
    _, alive = psutil.wait_procs([child], 10)
    assert alive == []


async def test_sessions_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmqtui.web.server.SESSIONS", 0)
    assert SESSIONS == 16
    status, text, _ = await get(served.base + "/ws", cookies=served.cookies, headers=served.own)
    assert (status, text) == (503, "there are 0 sessions already")


Noted = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """What the server logs: events and fields."""
    found: Noted = []
    monkeypatch.setattr(
        "vmqtui.web.server.note", lambda log, level, event, **fields: found.append((event, fields))
    )
    return found


async def test_who_comes_who_goes_and_who_is_refused_is_logged_without_the_token(
    served: Served, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await get(served.gate.url)
    await get(served.base + "/?token=guess")
    await get(served.base + "/page.js", headers={"Host": "evil.example"})
    monkeypatch.setattr("vmqtui.web.server.SessionService", NoProcess)
    async with (
        aiohttp.ClientSession(cookies=served.cookies) as browser,
        browser.ws_connect(served.base + "/ws", headers=served.own) as websocket,
    ):
        await websocket.send_str('["stdin", "secret keys"]')
        monkeypatch.setattr("vmqtui.web.server.SESSIONS", 1)
        await get(served.base + "/ws", cookies=served.cookies, headers=served.own)
    await until(lambda: len(noted) == 6)
    assert [event for event, _ in noted] == [
        "browser_admitted",
        "browser_refused",
        "browser_refused",
        "session_began",
        "session_refused",
        "session_ended",
    ]
    assert all(fields["peer"] == "127.0.0.1" for _, fields in noted)
    assert noted[1][1]["path"] == "/"
    assert noted[2][1]["why"] == "this server does not go by that name"
    assert noted[5][1]["sessions"] == 0
    for secret in (served.gate.token, "guess", "secret keys", "opensesame"):
        assert secret not in repr(noted)


async def test_a_message_that_is_too_large_ends_the_session(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmqtui.web.server.SessionService", NoProcess)
    async with (
        aiohttp.ClientSession(cookies=served.cookies) as browser,
        browser.ws_connect(served.base + "/ws", headers=served.own) as websocket,
    ):
        await websocket.send_str("x" * (MESSAGE_LIMIT_BYTES + 1))
        message = await websocket.receive(timeout=60)
        assert message.type == aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


class NoProcess:
    """Stands in for a session's process, which nothing is asked of."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    async def start(self, width: int, height: int) -> None: ...

    async def stop(self) -> None: ...

    async def send_bytes(self, data: bytes) -> None: ...


def sessions() -> list[psutil.Process]:
    found = []
    for child in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "vmqtui.web.session" in child.cmdline():
                found.append(child)
    return found
