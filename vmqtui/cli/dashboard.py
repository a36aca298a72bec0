"""Bare ``vmqtui``: the screen, and the private engine it starts where no broker is named."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from engine.bus.discovery import ENVIRONMENT_VARIABLE, own_url
from engine.bus.urls import BrokerUrl
from engine.logs import Form
from engine.scenario.load import load
from vmqtui.cli.captures import is_stream
from vmqtui.cli.engine import check_source
from vmqtui.cli.failures import FAILED, CommandError, sentences, unusable
from vmqtui.cli.logs import log_of_screen
from vmqtui.cli.own import own_preferences
from vmqtui.cli.reach import broker_url
from vmqtui.cli.run import run_app, run_async, status_of
from vmqtui.preferences.model import Preferences

if TYPE_CHECKING:
    from vmqtui.app import VmqApp
    from vmqtui.library.lessons import Intervention
    from vmqtui.link import BusLink

_FAREWELL_S: Final = 10.0


def show_dashboard(
    *,
    scenario: Path | None,
    capture: Path | None,
    loop: bool,
    interface: str | None = None,
    promiscuous: bool = False,
    adapter: str | None,
    broker: str | None,
    host: str | None,
    theme: str | None,
    read_only: bool,
    log_form: Form,
    interventions: "Iterable[Intervention]" = (),
) -> int:
    """Show the dashboard until it is left; exit status. ``interventions`` are made once the engine is up."""
    with sentences():
        preferences = own_preferences()
        options = engine_options(
            scenario, capture, loop, adapter, broker, interface=interface, promiscuous=promiscuous
        )
        options += ["--interval", f"{preferences.interval_s:g}", "--log-format", log_form]
        url = broker_url(broker, user=user_of(read_only)) if broker is not None else None
        if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
            unusable("the dashboard needs a terminal; vmqtui engine and vmqtui get work without one")
        log_of_screen("dashboard", log_form)
        return run_async(_show(url, host, theme, read_only, options, preferences, interventions))


def engine_options(
    scenario: Path | None,
    capture: Path | None,
    loop: bool,
    adapter: str | None,
    broker: str | None,
    *,
    interface: str | None = None,
    promiscuous: bool = False,
) -> list[str]:
    """The options of an engine of one's own. What is wrong with them is said before anything is started."""
    given = [
        ("--scenario", scenario),
        ("--capture", capture),
        ("--interface", interface),
        ("--adapter", adapter),
    ]
    of_engine = [name for name, value in given if value is not None]
    if broker is not None and of_engine:
        unusable(
            f"{of_engine[0]}: is for an engine of this dashboard's own,"
            " which --broker and VMQTUI_BROKER leave out"
        )
    if scenario is not None:
        load(scenario)
    check_source(capture, loop, interface, promiscuous)
    if capture is not None and is_stream(capture):
        unusable(f"--capture: {capture} is a pipe, which only vmqtui engine reads (a file fits)")
    options = [*(["--loop"] if loop else []), *(["--promiscuous"] if promiscuous else [])]
    for name, value in given:
        options += [name, str(value)] if value is not None else []
    return options


async def _show(
    url: BrokerUrl | None,
    host: str | None,
    theme: str | None,
    read_only: bool,
    options: list[str],
    preferences: Preferences,
    interventions: "Iterable[Intervention]",
) -> int:
    from vmqtui.app import VmqApp
    from vmqtui.link import BusLink

    spare_the_collector()
    async with BusLink() as link:
        app = VmqApp(link, theme=theme, read_only=read_only, host=host, preferences=preferences)
        if url is not None:
            await link.connect(url, host, read_only=read_only)
            await run_app(app)
            return status_of(app)
        private = PrivateEngine(options, link.report)
        try:
            following = asyncio.create_task(_follow(private, user_of(read_only), link, app, interventions))
            await run_app(app)
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
        finally:
            await asyncio.to_thread(private.stop)
    if private.error is not None:
        raise CommandError(private.error, status=private.status or FAILED)
    return status_of(app)


def spare_the_collector() -> None:
    """Have the garbage collector leave alone what is loaded by now, and look at the rest less often.

    A full collection over everything takes some 60 ms here, in which no key is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def user_of(read_only: bool) -> str:
    """Whom a dashboard is to an engine of this user."""
    return "viewer" if read_only else "operator"


async def _follow(
    private: "PrivateEngine",
    user: str,
    link: "BusLink",
    app: "VmqApp",
    interventions: "Iterable[Intervention]",
) -> None:
    """Attach the screen to the engine once it is there; leave the screen when the engine can't start."""
    url = await private.start()
    if url is None:
        app.exit()
        return
    await link.connect(own_url(url, user=user), read_only=user == "viewer")
    doing = asyncio.create_task(_do(link, interventions)) if interventions else None
    await asyncio.to_thread(private.wait)
    if doing is not None:
        doing.cancel()
    link.report(private.error or "the engine has ended", failed=True)


async def _do(link: "BusLink", interventions: "Iterable[Intervention]") -> None:
    """Ask for what a lesson wants done, each so long after the first reading."""
    host = await link.first_reading()
    began = asyncio.get_running_loop().time()
    for intervention in interventions:
        await asyncio.sleep(max(0.0, began + intervention.at_s - asyncio.get_running_loop().time()))
        with contextlib.suppress(ConnectionError, TimeoutError):
            await link.request(host, intervention.op, dict(intervention.params))


class PrivateEngine:
    """An engine in a process of its own, which ends when this one does, however this one ends."""

    def __init__(self, options: list[str], report: Callable[[str], None]) -> None:
        self.error: str | None = None
        self.status: int | None = None
        self._report = report
        self._event_loop = asyncio.get_running_loop()
        windows = sys.platform == "win32"
        # A process group of its own: a Ctrl-C on the terminal is the screen's.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vmqtui", "engine", "--tied", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != ENVIRONMENT_VARIABLE},
            start_new_session=not windows,
            creationflags=0x200 if windows else 0,  # CREATE_NEW_PROCESS_GROUP
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        self._stderr = cast("IO[str]", self._process.stderr)
        self._talking = asyncio.create_task(asyncio.to_thread(self._listen))

    async def start(self) -> BrokerUrl | None:
        """Wait for its URL; None when it ended instead, and then ``error`` says why."""
        line = await asyncio.to_thread(self._stdout.readline)
        if line:
            return BrokerUrl.parse(line.strip())
        await asyncio.to_thread(self.wait)
        await self._talking
        self.error = self.error or "the engine ended before it was ready"
        return None

    def wait(self) -> None:
        """Wait until it has ended."""
        self.status = self._process.wait()

    def stop(self) -> None:
        """End it: it goes when its standard input closes, and is killed when it does not."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def _listen(self) -> None:
        """Take what it says on stderr: how far it is, or why it ended."""
        with self._stderr as said:
            for line in said:
                sentence = line.strip()
                if sentence.startswith("error: "):
                    self.error = sentence.removeprefix("error: ")
                with contextlib.suppress(RuntimeError):
                    self._event_loop.call_soon_threadsafe(self._report, sentence)
