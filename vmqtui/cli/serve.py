"""``vmqtui serve``: the dashboard in browsers, which share one engine."""

import logging
import signal
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmqtui.cli.config import own_preferences
from vmqtui.cli.dashboard import user_of
from vmqtui.cli.failures import DONE, FAILED, INTERRUPTED, CommandError, failed, sentences, unusable, warn
from vmqtui.cli.frames import CaptureOption, Loop, ScenarioOption, SourceOptions
from vmqtui.cli.logs import log_of_screen
from vmqtui.cli.options import AdapterThatIsFed, LogFormat, Theme, address_of
from vmqtui.cli.private import PrivateEngine
from vmqtui.cli.reach import HostOptions
from vmqtui.cli.run import interrupts_of_python, on_signal
from vmqtui.cli.tied import TiedEngine, arguments
from vmqtui.printable import printable

if TYPE_CHECKING:
    import asyncio

    from vmqtui.web.session import Wanted

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedSourceOptions:
    """What the engine behind the pages models, and where its frames come from."""

    scenario: ScenarioOption = None
    capture: CaptureOption = None
    loop: Loop = False
    adapter: AdapterThatIsFed = None


@dataclass(frozen=True)
class PageOptions:
    """Where the pages are served, and what they let browsers do."""

    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where it listens; port 0: a free one.")
    ] = "127.0.0.1:0"
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="How browsers reach it, where that is another way."),
    ] = None
    allow_control: Annotated[
        bool, typer.Option("--allow-control", help="Let browsers change things; else they only look.")
    ] = False


def serve(
    *,
    source: ServedSourceOptions,
    at: HostOptions,
    theme: Theme = None,
    page: PageOptions,
    log_format: LogFormat = "text",
) -> int:
    """Serve the dashboard to browsers. Its first line is the address to open, which holds a secret."""
    import asyncio

    from engine.bus.tls import NO_FILES
    from vmqtui.web.session import Wanted

    read_only = not page.allow_control
    with sentences():
        own_preferences()
        own = TiedEngine(SourceOptions(**vars(source)), log_format=log_format)
        own.source.check_private(at.broker)
        address = address_of(page.listen, "127.0.0.1:8000")
        url = at.named(user=user_of(read_only))
        named = url.with_password() if url is not None else ""
        tls = url.files if url is not None else NO_FILES
        wanted = Wanted(named, at.host, theme, read_only=read_only, log_form=log_format, tls=tls)
        log_of_screen("serve", log_format)
        with interrupts_of_python(), asyncio.Runner() as runner:
            return runner.run(_serve(wanted, own, address, page.public_url))


async def _serve(wanted: "Wanted", own: TiedEngine, address: tuple[str, int], public_url: str | None) -> int:
    """Start an engine of its ``own``, unless a broker is named, and serve the pages."""
    import asyncio

    import msgspec

    from engine.bus.discovery import own_url

    ended = asyncio.Event()
    status = DONE

    def end(with_status: int) -> None:
        nonlocal status
        status = with_status
        ended.set()

    on_signal(signal.SIGINT, partial(end, INTERRUPTED))
    on_signal(signal.SIGTERM, partial(end, DONE))
    stopping = asyncio.ensure_future(ended.wait())
    if wanted.broker:
        await _listen(wanted, address, public_url, {stopping})
        return status
    private = PrivateEngine(arguments(own))
    private.report_to(_say)
    try:
        starting = asyncio.ensure_future(private.start())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if ended.is_set():
            return status
        url = await starting
        if url is not None:
            url = own_url(url, user=user_of(wanted.read_only))
            lasting = asyncio.ensure_future(asyncio.to_thread(private.wait))
            await _listen(
                msgspec.structs.replace(wanted, broker=url.with_password()),
                address,
                public_url,
                {stopping, lasting},
            )
        if not ended.is_set():
            raise CommandError(private.error or "the engine has ended", status=private.status or FAILED)
    finally:
        await asyncio.to_thread(private.stop)
    return status


async def _listen(
    wanted: "Wanted", address: tuple[str, int], public_url: str | None, until: "set[asyncio.Future[Any]]"
) -> None:
    """Serve until one of the futures ``until`` is done."""
    import asyncio

    from aiohttp import web

    from engine.bus.urls import is_loopback
    from engine.logs import note
    from vmqtui.web.connections import RUNNER, ConnectionLimiter, listen_on
    from vmqtui.web.gate import AddressError, Gate
    from vmqtui.web.server import DashboardServer

    try:
        listening = listen_on(*address)
    except OSError as error:
        failed(f"--listen: {address[0]}:{address[1]}: {error.strerror or error}")
    host, port = address[0], listening[0].getsockname()[1]
    try:
        gate = Gate.at(host, port, public_url)
    except AddressError as error:
        for one in listening:
            one.close()
        unusable(error)
    if not is_loopback(host) and not gate.secure:
        warn("without TLS the token can be read on the way; a proxy that has it belongs in front")
    server = DashboardServer(gate, wanted)
    runner = web.AppRunner(await server.application(port), shutdown_timeout=2.0, **RUNNER)
    await runner.setup()
    try:
        async with ConnectionLimiter(runner.server, listening):
            print(gate.url, flush=True)
            note(_log, logging.INFO, "serving", at=gate.origins[0], read_only=wanted.read_only)
            await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await server.close()
        await runner.cleanup()


def _say(sentence: str) -> None:
    if sys.stderr.isatty():
        print(printable(sentence), file=sys.stderr, flush=True)
