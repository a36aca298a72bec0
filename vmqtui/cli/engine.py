"""``vmqtui engine``: the engine without a screen."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from engine.bus.discovery import find_url
from engine.logs import Form
from engine.scenario.load import default_scenario, load
from vmqtui.cli.failures import DONE, INTERRUPTED, engine_sentences, failed, sentences, unusable
from vmqtui.cli.logs import log_of_engine
from vmqtui.cli.run import on_signal, run_async
from vmqtui.cli.start import prepare_kernels
from vmqtui.printable import printable

if TYPE_CHECKING:
    from engine.service.engine import Engine, Listen


def run_engine(
    *,
    scenario: Path | None,
    capture: Path | None,
    loop: bool,
    adapter: str | None,
    broker: str | None,
    listen: str | None,
    insecure: bool,
    duration: float | None,
    interval: float,
    worker_deadline: float | None,
    log_form: Form | None,
    log_file: Path | None,
    tied: bool,
) -> int:
    """Run an engine until its time is over or a signal comes; the exit status."""
    if loop and capture is None:
        unusable("--loop: there is no --capture to loop")
    if broker is not None and listen is not None:
        unusable("--listen: an engine uses --broker or a broker of its own, not both")
    if insecure and broker is not None:
        unusable("--insecure: is about an engine's own broker, which --broker leaves out")
    with sentences():
        given = load(scenario) if scenario is not None else default_scenario()
        url = find_url(broker, user="owner") if broker is not None else None
    log_of_engine(log_form, log_file, tied=tied)
    prepare_kernels(tell=tied)
    with engine_sentences(str(scenario or "the default scenario")):
        from engine.service.engine import Engine
        from engine.service.machine import WORKER_DEADLINE_S

        def say(sentence: str) -> None:
            print(sentence, file=sys.stderr, flush=True)

        def build() -> Engine:
            return Engine(
                given,
                capture=capture,
                loop=loop,
                adapter=adapter,
                broker=url,
                listen=parse_listen(listen, insecure),
                interval_s=interval,
                worker_deadline_s=worker_deadline or WORKER_DEADLINE_S,
                announce="found" if listen is None else "named",
                progress=say if tied or sys.stderr.isatty() else lambda sentence: None,
            )

        return run_async(_serve(build, duration, tied, own_broker=url is None))


async def _serve(
    build: "Callable[[], Engine]", duration: float | None, tied: bool, *, own_broker: bool
) -> int:
    engine = build()
    ended = asyncio.Event()
    status = DONE
    event_loop = asyncio.get_running_loop()

    def interrupt() -> None:
        nonlocal status
        status = INTERRUPTED
        ended.set()

    on_signal(signal.SIGINT, interrupt)
    on_signal(signal.SIGTERM, ended.set)
    if tied:
        threading.Thread(target=_await_close, args=(event_loop, ended), daemon=True).start()
    starting = asyncio.ensure_future(engine.__aenter__())
    stopping = asyncio.ensure_future(ended.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return status
    await starting
    try:
        # Whoever started it may use its broker; the password to another broker is not for showing.
        print(engine.url.with_password() if own_broker else engine.url, flush=True)
        failing = asyncio.ensure_future(engine.stopped.wait())
        await asyncio.wait({failing, stopping}, timeout=duration, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await engine.__aexit__(None, None, None)
    if engine.failure is not None:
        failed(f"the engine has failed: {engine.failure}")
    return status


def _await_close(event_loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """End the engine when whoever started it lets go of its standard input."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):
        event_loop.call_soon_threadsafe(ended.set)


def parse_listen(listen: str | None, insecure: bool = False) -> "Listen":
    from engine.service.engine import Listen

    if listen is None:
        return Listen(insecure=insecure)
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if (
        not colon
        or not host
        or not port.isascii()
        or not port.isdigit()
        or len(port) > 5
        or int(port) > 65_535
    ):
        unusable(
            f"--listen: {printable(listen, 80)!r} is not HOST:PORT (127.0.0.1:1883, or port 0 for a free one)"
        )
    if not _is_loopback(host):
        unusable(f"--listen: {host!r} is beyond loopback; use a broker of your own with --broker for that")
    return Listen(host, int(port), insecure)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
