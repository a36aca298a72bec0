"""``vmqtui engine``: the engine without a screen."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.kernels.prepare import OF_INTERFACE
from engine.logs import Form
from engine.scenario.load import default_scenario, load
from engine.signals import resume_when_orphaned
from vmqtui.cli.captures import kept_capture
from vmqtui.cli.failures import DONE, INTERRUPTED, engine_sentences, failed, sentences, unusable
from vmqtui.cli.logs import log_of_engine
from vmqtui.cli.reach import broker_url, listening_tls
from vmqtui.cli.run import on_signal, run_async
from vmqtui.cli.start import prepare_kernels
from vmqtui.preferences.file import load_preferences
from vmqtui.printable import printable

_CLIENTS: Final = re.compile(r"[A-Za-z0-9_.*?-]{1,64}")

if TYPE_CHECKING:
    from engine.bus.accounts import Listen
    from engine.service.engine import Engine
    from engine.traffic.capture_file import CaptureFile


def run_engine(
    *,
    scenario: Path | None,
    capture: Path | None,
    loop: bool,
    interface: str | None = None,
    promiscuous: bool = False,
    adapter: str | None,
    broker: str | None,
    listen: str | None,
    insecure: bool,
    accounts: Path | None,
    viewers: list[str],
    duration: float | None,
    interval: float,
    worker_deadline: float | None,
    log_form: Form | None,
    log_file: Path | None,
    tied: bool,
) -> int:
    """Run an engine until its time is over or a signal comes; the exit status."""
    check_source(capture, loop, interface, promiscuous)
    if broker is not None and listen is not None:
        unusable("--listen: an engine uses the broker of --broker or VMQTUI_BROKER, or its own, not both")
    for pattern in viewers:
        if not _CLIENTS.fullmatch(pattern):
            unusable(f"--viewer: {printable(pattern, 80)!r} is no client id, or pattern of some (view-*)")
    if broker is not None and (insecure or accounts is not None):
        name = "--insecure" if insecure else "--accounts"
        unusable(f"{name}: is about an engine's own broker, which --broker and VMQTUI_BROKER leave out")
    with sentences():
        given = load(scenario) if scenario is not None else default_scenario()
        url = broker_url(broker, user="owner") if broker is not None else None
        thresholds = load_preferences().advice
    listening = parse_listen(listen, insecure, accounts)
    log_of_engine(log_form, log_file, tied=tied)
    prepare_kernels(kernels=OF_INTERFACE if interface is not None else (), tell=tied)
    with engine_sentences(str(scenario or "the default scenario")):
        from engine.service.engine import Engine
        from engine.service.machine import WORKER_DEADLINE_S

        held_capture = nullcontext() if capture is None else kept_capture(capture)

        def say(sentence: str) -> None:
            print(sentence, file=sys.stderr, flush=True)

        def build(held: "CaptureFile | None") -> Engine:
            return Engine(
                given,
                capture=held,
                loop=loop,
                interface=interface,
                promiscuous=promiscuous,
                adapter=adapter,
                broker=url,
                listen=listening,
                interval_s=interval,
                worker_deadline_s=worker_deadline or WORKER_DEADLINE_S,
                announce="found" if listen is None or (listening and listening.public) else "named",
                viewers=viewers,
                thresholds=thresholds,
                progress=say if tied or sys.stderr.isatty() else lambda sentence: None,
            )

        with held_capture as held:
            return run_async(_serve(partial(build, held), duration, tied, own_broker=url is None))


def check_source(capture: Path | None, loop: bool, interface: str | None, promiscuous: bool) -> None:
    """See that the options that say where frames come from fit each other."""
    if capture is not None and interface is not None:
        unusable("--interface: frames come from it or from --capture, not both")
    if loop and capture is None:
        unusable("--loop: there is no --capture to loop")
    if promiscuous and interface is None:
        unusable("--promiscuous: there is no --interface")
    if interface == "":
        unusable("--interface: is empty; the name of an Ethernet interface fits")


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
        resume_when_orphaned()
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
        own = engine.url.with_password() if own_broker else str(engine.url)
        print(engine.public_url or own, flush=True)
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


def parse_listen(listen: str | None, insecure: bool = False, accounts: Path | None = None) -> "Listen | None":
    """Where an engine's own broker listens, None where nothing is said. Ends with 2 when it does not read."""
    from engine.bus.accounts import Listen

    if listen is None:
        if accounts is not None:
            unusable("--accounts: are for a broker that others reach, by --listen")
        return Listen(insecure=True) if insecure else None
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
    return _listening(host, int(port), insecure, accounts)


def _listening(host: str, port: int, insecure: bool, accounts: Path | None) -> "Listen":
    """Where to listen, with what is needed there. Ends with 2 where something is missing."""
    from engine.bus.accounts import Listen, read_accounts
    from engine.bus.tls import NO_FILES, server_context
    from engine.bus.urls import is_loopback

    tls = listening_tls()
    if not is_loopback(host) and not insecure and (tls.cert is None or accounts is None):
        unusable(
            f"--listen: {host!r} is beyond loopback, which takes --tls-cert, --tls-key and --accounts;"
            " or --insecure, which lets in whoever reaches it"
        )
    with sentences():
        known = tuple(read_accounts(accounts)) if accounts is not None else ()
        if tls != NO_FILES:
            server_context(tls)
    return Listen(host, port, insecure, tls if tls != NO_FILES else None, known)
