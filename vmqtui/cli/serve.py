"""``vmqtui serve``: the dashboard in browsers, all of them over one engine."""

import asyncio
import logging
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.bus.discovery import own_url
from engine.bus.tls import NO_FILES
from engine.logs import Form, note
from vmqtui.cli.dashboard import PrivateEngine, engine_options, user_of
from vmqtui.cli.failures import DONE, FAILED, INTERRUPTED, CommandError, failed, sentences, unusable, warn
from vmqtui.cli.logs import log_of_screen
from vmqtui.cli.own import own_preferences
from vmqtui.cli.reach import broker_url
from vmqtui.cli.run import on_signal
from vmqtui.printable import printable

if TYPE_CHECKING:
    from vmqtui.web.session import Wanted

_log = logging.getLogger(__name__)


def run_serve(
    *,
    scenario: Path | None,
    capture: Path | None,
    loop: bool,
    adapter: str | None,
    broker: str | None,
    host: str | None,
    theme: str | None,
    listen: str,
    public_url: str | None,
    allow_control: bool,
    log_form: Form,
) -> int:
    """Serve until a signal comes; the exit status."""
    from vmqtui.web.session import Wanted

    with sentences():
        interval_s = own_preferences().interval_s
        options = engine_options(scenario, capture, loop, adapter, broker)
        options += ["--interval", f"{interval_s:g}", "--log-format", log_form]
        address = parse_listen(listen)
        url = broker_url(broker, user=user_of(not allow_control)) if broker is not None else None
        named = url.with_password() if url is not None else ""
        tls = url.files if url is not None else NO_FILES
        wanted = Wanted(named, host, theme, read_only=not allow_control, log_form=log_form, tls=tls)
        log_of_screen("serve", log_form)
        with asyncio.Runner() as runner:
            return runner.run(_serve(wanted, options, address, public_url))


async def _serve(
    wanted: "Wanted", options: list[str], address: tuple[str, int], public_url: str | None
) -> int:
    """Start an engine, unless there is a broker, and serve it."""
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
    private = PrivateEngine(options, _say)
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
    wanted: "Wanted", address: tuple[str, int], public_url: str | None, until: set[asyncio.Future[Any]]
) -> None:
    """Listen until something of ``until`` happens."""
    from aiohttp import web

    from engine.bus.urls import is_loopback
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


def parse_listen(listen: str) -> tuple[str, int]:
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
            f"--listen: {printable(listen, 80)!r} is not HOST:PORT (127.0.0.1:8000, or port 0 for a free one)"
        )
    return host, int(port)


def _say(sentence: str) -> None:
    if sys.stderr.isatty():
        print(printable(sentence), file=sys.stderr, flush=True)
