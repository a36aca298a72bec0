"""``vmqtui serve``, opened in a real browser."""

import signal
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Running, run
from tests.web.browser import CHROMIUM, browser
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow

PICTURE = Path(__file__).parents[2] / "artifacts" / "serve.png"
"""What CI keeps: the dashboard as Chromium shows it."""


def save(picture: bytes) -> None:
    assert picture.startswith(b"\x89PNG")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture)


def named(process: psutil.Process, word: str) -> list[psutil.Process]:
    """The processes below that were started with a word."""
    return [one for one in process.children(recursive=True) if word in one.cmdline()]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here")
async def test_a_browser_shows_the_dashboard_and_asks_for_nothing_from_outside(
    lab: str, reader: Reader, tmp_path: Path
) -> None:
    serving = Running("serve", "--broker", lab, "--theme", "dark")
    url = serving.first_line()
    base = url.split("?")[0]
    async with browser(tmp_path / "profile") as page:
        await page.open(url)
        await page.shows("Overview", "pkt/s")
        await page.shows("live")
        assert await page.evaluate("location.href") == base
        copied = "new Promise((done) => { navigator.clipboard.writeText = async (text) => done(text); })"
        await page.evaluate(f"window.copied = {copied}; 0")
        await page.press("y")  # a key reaches it without a click
        assert "\t" in await page.evaluate("window.copied")
        await page.press("?")
        await page.shows("Help")
        await page.press("\x1b")
        await page.press("2")
        save(await page.picture())
        own = (base, base.replace("http", "ws", 1))
        assert [one for one in page.requests if not one.startswith((*own, "data:"))] == []
        assert any("/ws" in one for one in page.requests)
        assert [error for error in page.errors if "WebGL" not in error] == []
    assert serving.end() == 0


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here")
async def test_another_page_in_the_same_browser_gets_no_session(
    lab: str, reader: Reader, tmp_path: Path
) -> None:
    serving = Running("serve", "--broker", lab)
    url = serving.first_line()
    socket = url.split("?")[0].replace("http", "ws", 1) + "ws"
    async with browser(tmp_path / "profile") as page:
        await page.open(url)
        await page.shows("Overview")
        await page.ask("Page.navigate", url="data:text/html,<p>elsewhere")
        ending = await page.evaluate(
            f"new Promise((done) => {{ const s = new WebSocket('{socket}');"
            " s.onopen = () => done('open'); s.onerror = () => done('refused'); })"
        )
        assert ending == "refused"
    assert serving.end() == 0


async def test_one_engine_serves_all_sessions_and_goes_with_the_server(tmp_path: Path) -> None:
    serving = Running("serve", XDG_RUNTIME_DIR=str(tmp_path))
    url = serving.first_line()
    base, server = url.split("?")[0], psutil.Process(serving.process.pid)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        assert (await session.get(url)).status == 200
        headers = {"Origin": base.rstrip("/")}
        async with (
            session.ws_connect(base + "ws", headers=headers, max_msg_size=0) as one,
            session.ws_connect(base + "ws", headers=headers, max_msg_size=0) as other,
        ):
            for socket in (one, other):
                drawn = b""
                while b"live" not in drawn:
                    message = await socket.receive(30)
                    drawn += message.data if isinstance(message.data, bytes) else b""
            assert len(named(server, "vmqtui.web.session")) == 2
            assert len(named(server, "--tied")) == 1
            family = [server, *server.children(recursive=True)]
    assert serving.end() == 0
    _, alive = psutil.wait_procs(family, 10)
    assert alive == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--listen", "8000"), "HOST:PORT"),
        (("--listen", "127.0.0.1:" + "9" * 5000), "HOST:PORT"),
        (("--listen", "0.0.0.0:0"), "--public-url"),
        (("--public-url", "lab"), "address of a server"),
        (("--loop",), "--capture"),
    ],
)
def test_what_can_not_be_served_is_told(lab: str, arguments: tuple[str, ...], word: str) -> None:
    broker = () if "--loop" in arguments else ("--broker", lab)
    done = run("serve", *broker, *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert word in done.err


def test_a_port_that_is_taken_is_told(lab: str) -> None:
    taken = lab.rsplit(":", 1)[1]
    done = run("serve", "--broker", lab, "--listen", f"127.0.0.1:{taken}")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: --listen: 127.0.0.1:")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_ends_it(lab: str, here: Here) -> None:
    serving = Running("serve", "--broker", lab)
    serving.first_line()
    wait_until(lambda: serving.out, what="address")
    assert serving.end(signal.SIGINT) == 130
    assert serving.err == []
