"""``vmqtui engine``: the engine without a screen. ``vmqtui account``: a line of its ``--accounts`` file."""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from vmqtui.cli import tied
from vmqtui.cli.failures import DONE, INTERRUPTED, engine_sentences, failed, sentences, unusable
from vmqtui.cli.frames import SourceOptions, kept_capture_if, prepare_kernels
from vmqtui.cli.logs import EngineLogOptions
from vmqtui.cli.options import WorkerDeadline, address_of
from vmqtui.cli.reach import BrokerOptions
from vmqtui.cli.run import on_signal, run_async
from vmqtui.printable import printable

_CLIENTS: Final = re.compile(r"[A-Za-z0-9_.*?-]{1,64}")

if TYPE_CHECKING:
    import asyncio

    from engine.bus.accounts import Listen
    from engine.bus.tls import TlsFiles
    from engine.service.engine import Engine
    from engine.service.measuring import Agent
    from engine.traffic.capture_file import CaptureFile


@dataclass(frozen=True)
class OwnBrokerOptions:
    """The broker that an engine starts: where it listens, and who may use it."""

    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where its own broker listens.")
    ] = None
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Its own broker lets everyone in, beyond loopback too."),
    ] = False
    accounts: Annotated[
        Path | None,
        typer.Option("--accounts", metavar="F", help="Who else may use its own broker (vmqtui account)."),
    ] = None
    viewer: Annotated[
        list[str] | None,
        typer.Option("--viewer", metavar="ID", help="A client, or pattern (view-*), that asks for nothing."),
    ] = None

    def check(self, at: BrokerOptions) -> None:
        """End with status 2 if these options conflict with the broker that is named, or are invalid."""
        if at.broker is not None and self.listen is not None:
            unusable("--listen: an engine uses the broker of --broker or VMQTUI_BROKER, or its own, not both")
        for pattern in self.viewer or ():
            if not _CLIENTS.fullmatch(pattern):
                unusable(f"--viewer: {printable(pattern, 80)!r} is no client id, or pattern of some (view-*)")
        if at.broker is not None and (self.insecure or self.accounts is not None):
            name = "--insecure" if self.insecure else "--accounts"
            unusable(f"{name}: is about an engine's own broker, which --broker and VMQTUI_BROKER leave out")

    def announced(self, listening: "Listen | None") -> Literal["found", "named"]:
        """Return how commands of this user find the engine: one that listens on a port that was asked for,
        open to this machine only, has to be named."""
        return "found" if self.listen is None or (listening and listening.public) else "named"

    def listening(self, tls: "TlsFiles") -> "Listen | None":
        """Return where the broker listens; None if no option sets it. Ends with status 2 on a conflict."""
        from engine.bus.accounts import Listen, read_accounts
        from engine.bus.tls import NO_FILES, server_context
        from engine.bus.urls import is_loopback

        if self.listen is None:
            if self.accounts is not None:
                unusable("--accounts: are for a broker that others reach, by --listen")
            return Listen(insecure=True) if self.insecure else None
        host, port = address_of(self.listen, "127.0.0.1:1883")
        if not is_loopback(host) and not self.insecure and (tls.cert is None or self.accounts is None):
            unusable(
                f"--listen: {host!r} is beyond loopback, which takes --tls-cert, --tls-key and --accounts;"
                " or --insecure, which lets in whoever reaches it"
            )
        with sentences():
            known = tuple(read_accounts(self.accounts)) if self.accounts is not None else ()
            if tls != NO_FILES:
                server_context(tls)
        return Listen(host, port, self.insecure, tls if tls != NO_FILES else None, known)


def engine(
    *,
    source: SourceOptions,
    at: BrokerOptions,
    own: OwnBrokerOptions,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.02, max=60, help="Seconds between stats.")
    ] = 0.25,
    worker_deadline: WorkerDeadline = None,
    log: EngineLogOptions,
) -> int:
    """Run the engine headless. Its first line is the URL of its broker."""
    return _run(
        source, at, own, log, interval_s=interval, duration_s=duration, worker_deadline_s=worker_deadline
    )


def run_tied(options: str) -> int:
    """Run a dashboard's engine, by what ``tied.arguments`` wrote; return the exit status."""
    return tied.run(
        tied.TiedEngine,
        options,
        lambda it: _run(
            it.source,
            BrokerOptions(),
            OwnBrokerOptions(),
            EngineLogOptions(it.log_format),
            interval_s=it.interval_s,
            duration_s=it.duration_s,
            is_tied=True,
        ),
    )


def _run(
    source: SourceOptions,
    at: BrokerOptions,
    own: OwnBrokerOptions,
    log: EngineLogOptions,
    *,
    interval_s: float | None,
    duration_s: float | None,
    worker_deadline_s: float | None = None,
    is_tied: bool = False,
) -> int:
    """Run an engine until its end or ``duration_s``; return the exit status. One that ``is_tied`` also ends
    when standard input closes."""
    from engine.kernels.prepare import of_engine, prepare_others
    from engine.scenario.load import default_scenario, load
    from vmqtui.preferences.file import load_preferences

    source.check()
    own.check(at)
    with sentences():
        given = load(source.scenario) if source.scenario is not None else default_scenario()
        url = at.named(user="owner") if not is_tied else None
        preferences = load_preferences()
    listening = own.listening(at.listening_tls())
    log.begin("engine", tied=is_tied)
    needed = of_engine(
        capture=source.capture is not None, interface=source.interface is not None, teams=bool(given.team)
    )
    prepare_kernels(kernels=needed, tell=is_tied)
    with engine_sentences(str(source.scenario or "the default scenario")):
        from engine.service.engine import Engine
        from engine.service.machine import WORKER_DEADLINE_S

        def say(sentence: str) -> None:
            print(sentence, file=sys.stderr, flush=True)

        def build(held: "CaptureFile | None") -> Engine:
            return Engine(
                given,
                capture=held,
                loop=source.loop,
                interface=source.interface,
                promiscuous=source.promiscuous,
                adapter=source.adapter,
                broker=url,
                listen=listening,
                interval_s=interval_s if interval_s is not None else preferences.interval_s,
                worker_deadline_s=worker_deadline_s or WORKER_DEADLINE_S,
                announce=own.announced(listening),
                viewers=own.viewer or [],
                thresholds=preferences.advice,
                progress=say if is_tied or sys.stderr.isatty() else lambda sentence: None,
            )

        with kept_capture_if(source.capture) as held:
            serving = serve_until_ended(
                partial(build, held), duration_s, is_tied, own_broker=url is None, started=prepare_others
            )
            return run_async(serving)


async def serve_until_ended(
    build: "Callable[[], Engine | Agent]",
    duration: float | None,
    tied: bool,
    *,
    own_broker: bool,
    started: "Callable[[], None]" = lambda: None,
) -> int:
    """Run an engine or agent until a signal, its end or ``duration`` (seconds); return the exit status.

    ``started`` is called once it runs and its URL is printed. A ``tied`` one prints its URL once its own
    broker listens: the dashboard that started it connects meanwhile, and misses no reading.
    """
    import asyncio

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
        from engine.signals import resume_when_orphaned

        resume_when_orphaned()
        threading.Thread(target=_await_close, args=(event_loop, ended), daemon=True).start()
    starting = asyncio.ensure_future(engine.__aenter__())
    stopping = asyncio.ensure_future(ended.wait())
    reachable = asyncio.ensure_future(engine.reachable.wait())

    def print_url() -> None:
        # The caller may use the engine's own broker. The password of another broker stays secret.
        own = engine.url.with_password() if own_broker else str(engine.url)
        print(engine.public_url or own, flush=True)

    await asyncio.wait({starting, stopping, reachable}, return_when=asyncio.FIRST_COMPLETED)
    if early := tied and reachable.done():
        try:
            print_url()
        except BrokenPipeError:  # the dashboard is gone
            ended.set()
    reachable.cancel()
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return status
    await starting
    try:
        if not early:
            print_url()
        started()
        failing = asyncio.ensure_future(engine.stopped.wait())
        await asyncio.wait({failing, stopping}, timeout=duration, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await engine.__aexit__(None, None, None)
    if engine.failure is not None:
        failed(f"the engine has failed: {engine.failure}")
    return status


def _await_close(event_loop: "asyncio.AbstractEventLoop", ended: "asyncio.Event") -> None:
    """End the engine when its parent closes the engine's standard input."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):
        event_loop.call_soon_threadsafe(ended.set)


def account(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")],
    role: Annotated[str, typer.Argument(metavar="viewer|operator|engine", help="What it may do.")],
) -> int:
    """Print a line for the file that engine --accounts takes. It asks for the password, or reads a pipe."""
    from engine.bus.accounts import account_line

    with sentences():
        account_line(name, role, "-")  # validate before prompting for the password
        print(account_line(name, role, _password()))
    return DONE


def _password() -> str:
    import getpass

    from engine.bus.accounts import PASSWORD_LIMIT_BYTES

    if not sys.stdin.isatty():
        return sys.stdin.readline(PASSWORD_LIMIT_BYTES + 2).removesuffix("\n").removesuffix("\r")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        unusable("the passwords differ")
    return password
