"""Bare ``vmqtui``: the screen, and the private engine it starts if no broker is named."""

import contextlib
import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from vmqtui.cli.config import own_preferences, own_state
from vmqtui.cli.failures import FAILED, CommandError, conclude, sentences, unusable
from vmqtui.cli.frames import SourceOptions
from vmqtui.cli.logs import log_of_screen
from vmqtui.cli.options import LogFormat, NoState, Theme
from vmqtui.cli.private import PrivateEngine
from vmqtui.cli.reach import HostOptions
from vmqtui.cli.run import run_app, run_async, status_of
from vmqtui.cli.startup import has_terminal
from vmqtui.cli.tied import Tied, TiedAgent, TiedEngine, arguments

if TYPE_CHECKING:
    from engine.bus.urls import BrokerUrl
    from vmqtui.app import VmqApp
    from vmqtui.library.lessons import Intervention, Lesson
    from vmqtui.link import BusLink
    from vmqtui.preferences.model import Preferences


@dataclass(frozen=True)
class ScreenOptions:
    """How the screen looks, and what it offers."""

    theme: Theme = None
    read_only: Annotated[bool, typer.Option("--read-only", help="Watch; offer no control.")] = False
    log_format: LogFormat = "text"
    no_state: NoState = False


def _show_version(wanted: bool) -> None:
    if wanted:
        from engine import __version__

        print(f"vmqtui {__version__}")
        raise typer.Exit


def dashboard(
    *,
    context: typer.Context,
    source: SourceOptions,
    at: HostOptions,
    screen: ScreenOptions,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> int | None:
    """Live dashboard for Virtual Machine Queues (VMQ), and the engine it watches.

    Without a command: the dashboard. It starts a private broker and engine, and ends them with itself;
    with --broker (or VMQTUI_BROKER) it attaches to engines that run already.
    """
    return None if context.invoked_subcommand is not None else show_dashboard(source, at, screen)


def run_bare(private: PrivateEngine | None) -> int:
    """Run ``vmqtui`` without arguments, with the engine that ``bare_engine`` started; return the exit status.

    The library that reads arguments, and what it needs, would take a fifth of a second.
    """
    return conclude(lambda: show_dashboard(SourceOptions(), HostOptions(), ScreenOptions(), private=private))


def show_dashboard(
    source: SourceOptions,
    at: HostOptions,
    screen: ScreenOptions,
    lesson: "Lesson | None" = None,
    private: PrivateEngine | None = None,
) -> int:
    """Show the dashboard until the user quits; return the exit status.

    A ``lesson`` is shown beside its scenario, and its requests are sent after the engine has started.
    ``private`` is the engine, if it has been started.
    """
    with sentences():
        preferences = own_preferences()
        source.check_private(at.broker)
        own = TiedEngine(source, log_format=screen.log_format)
        url = at.named(user=user_of(screen.read_only))
        _begin_screen(screen, "vmqtui engine and vmqtui get work")
        return run_async(_show(url, at.host, screen, own, preferences, lesson, private))


def show_private_agent(own: TiedAgent, screen: ScreenOptions) -> int:
    """Show the dashboard with an agent of its own; return the exit status."""
    with sentences():
        preferences = own_preferences()
        _begin_screen(screen, "vmqtui agent and vmqtui watch --once work")
        return run_async(_show(None, None, screen, own, preferences, None))


def _begin_screen(screen: ScreenOptions, others: str) -> None:
    """Log to a file; end with status 2 if there is no terminal, naming the commands that need none."""
    if not has_terminal():
        unusable(f"the dashboard needs a terminal; {others} without one")
    log_of_screen("dashboard", screen.log_format)


async def _show(
    url: "BrokerUrl | None",
    host: str | None,
    screen: ScreenOptions,
    own: Tied,
    preferences: "Preferences",
    lesson: "Lesson | None",
    private: PrivateEngine | None = None,
) -> int:
    import asyncio

    read_only = screen.read_only
    with contextlib.ExitStack() as ending:
        if url is None:  # it starts while the screen is loaded
            private = private or PrivateEngine(arguments(own))
            ending.callback(private.stop)
        from engine.bus.messages import Status
        from vmqtui.app import VmqApp
        from vmqtui.link import BusLink

        measured = Status(state="offline", kind="measured", controls=False)
        gc.freeze()  # a full collection of all present objects would block the screen for about 60 ms
        async with BusLink() as link:
            app = VmqApp(
                link,
                theme=screen.theme,
                read_only=read_only,
                host=host,
                preferences=preferences,
                state=own_state(screen.no_state),
                expected=measured if isinstance(own, TiedAgent) else None,
                lesson=lesson,
            )
            if private is None:
                assert url is not None
                await link.connect(url, host, read_only=read_only)
                await run_app(app)
                return status_of(app)
            private.report_to(link.report)
            meanwhile = lesson.on_screen() if lesson is not None else ()
            following = asyncio.create_task(_follow(private, user_of(read_only), link, app, meanwhile))
            await run_app(app)
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            await asyncio.to_thread(private.stop)
    if private.error is not None:
        raise CommandError(private.error, status=private.status or FAILED)
    return status_of(app)


def user_of(read_only: bool) -> str:
    """Return the broker user of a dashboard, for an engine of the same operating-system user."""
    return "viewer" if read_only else "operator"


async def _follow(
    private: PrivateEngine,
    user: str,
    link: "BusLink",
    app: "VmqApp",
    interventions: "Iterable[Intervention]",
) -> None:
    """Attach the screen to the engine when it has started; exit the screen if it can't start."""
    import asyncio

    from engine.bus.discovery import own_url

    url = await private.start()
    if url is None:
        app.exit()
        return
    await link.connect(own_url(url, user=user), read_only=user == "viewer")
    doing = asyncio.create_task(_do(link, interventions)) if interventions else None
    await asyncio.to_thread(private.wait)
    if doing is not None:
        doing.cancel()
    if not link.has_read:
        await private.ended_early()
        app.exit()
        return
    link.report(private.error or "the engine has ended", failed=True)


async def _do(link: "BusLink", interventions: "Iterable[Intervention]") -> None:
    """Send a lesson's requests, each ``at_s`` seconds after the first reading."""
    import asyncio

    host = await link.first_reading()
    began = asyncio.get_running_loop().time()
    for intervention in interventions:
        await asyncio.sleep(max(0.0, began + intervention.at_s - asyncio.get_running_loop().time()))
        with contextlib.suppress(ConnectionError, TimeoutError):
            await link.request(host, intervention.op, dict(intervention.params))
