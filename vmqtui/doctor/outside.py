"""Brokers, and the terminal."""

import locale
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Final

from engine.bus.broker import EmbeddedBroker
from engine.bus.discovery import own_url
from engine.bus.errors import BadUrl, BrokerFailed
from engine.bus.urls import BrokerUrl, is_loopback
from engine.bus.watcher import Watcher
from engine.counted import counted
from vmqtui.doctor.finding import Finding

_ANSWER_S: Final = 6.0
_LEAST: Final = (80, 24)


async def embedded_broker() -> AsyncIterator[Finding]:
    """Start the broker that bare ``vmqtui`` uses, and talk to it."""
    try:
        async with EmbeddedBroker() as broker:
            yield await _reached(
                "embedded broker", broker.url, "see vmqtui logs show; a firewall on loopback?"
            )
    except BrokerFailed as error:
        yield Finding("embedded broker", "failed", str(error), "use a broker of your own with --broker URL")


async def named_broker(url: str, complete: Callable[[BrokerUrl], BrokerUrl]) -> AsyncIterator[Finding]:
    """Talk to the broker of a URL, which ``complete`` gives what it does not hold."""
    try:
        parsed = complete(own_url(BrokerUrl.parse(url), user="viewer"))
    except BadUrl as error:
        yield Finding("broker", "failed", str(error), "correct --broker or VMQTUI_BROKER")
        return
    advice = "is it running, does the firewall let you through, are user and password right?"
    yield await _reached("broker", parsed, advice)
    if not parsed.tls and not is_loopback(parsed.host):
        found = f"{parsed} is not encrypted: who is on the way can read along, the password too"
        yield Finding("broker", "note", found, "use mqtts:// beyond a network you trust")


async def _reached(subject: str, url: BrokerUrl, advice: str) -> Finding:
    began = time.monotonic()
    async with Watcher(url) as watcher:
        await watcher.wait_for(lambda: watcher.state != "connecting", _ANSWER_S)
        if watcher.state == "connected":
            return Finding(subject, "ok", f"{url} answered after {(time.monotonic() - began) * 1000:.0f} ms")
        return Finding(subject, "failed", watcher.why, advice)


def terminal() -> Iterator[Finding]:
    """The terminal that standard output is."""
    if not sys.stdout.isatty():
        found = "standard output is no terminal, so nothing can be told of one"
        yield Finding("terminal", "note", found, "run vmqtui doctor where the dashboard is to run")
        return
    size = os.get_terminal_size(sys.stdout.fileno())
    yield terminal_size(size.columns, size.lines)
    yield colours(os.environ, windows=sys.platform == "win32")
    yield characters(sys.stdout.encoding or locale.getencoding())


def terminal_size(columns: int, lines: int) -> Finding:
    """Whether the screen has room."""
    found = f"{counted(columns, 'column')}, {counted(lines, 'line')}"
    if columns >= _LEAST[0] and lines >= _LEAST[1]:
        return Finding("terminal size", "ok", found)
    return Finding("terminal size", "note", found, f"enlarge it to {_LEAST[0]} by {_LEAST[1]}, or more")


def colours(environment: Mapping[str, str], *, windows: bool) -> Finding:
    """How many colours the terminal says it has."""
    kind = environment.get("TERM", "")
    if environment.get("NO_COLOR"):
        return Finding("colours", "ok", "NO_COLOR is set: the theme mono is used")
    if environment.get("COLORTERM") in ("truecolor", "24bit") or windows or "direct" in kind:
        return Finding("colours", "ok", f"16 million (TERM={kind or 'not set'})")
    if "256" in kind:
        advice = "if it can do more: export COLORTERM=truecolor"
        return Finding("colours", "note", f"256 (TERM={kind}): colours are approximated", advice)
    if kind in ("", "dumb"):
        advice = "use a terminal that can move its cursor, and set TERM to what it is"
        return Finding("colours", "failed", f"TERM={kind or 'not set'}: a screen can't be drawn", advice)
    advice = "export TERM=xterm-256color if it can do that, or use --theme mono"
    return Finding("colours", "note", f"16 or fewer (TERM={kind})", advice)


def characters(encoding: str) -> Finding:
    """Whether box-drawing characters can be written."""
    try:
        "─│╭▁█△▲".encode(encoding)
        return Finding("characters", "ok", f"{encoding}: everything that is drawn can be written")
    except (UnicodeEncodeError, LookupError):
        advice = "use a UTF-8 locale: export LANG=C.UTF-8"
        return Finding("characters", "failed", f"{encoding} has no box-drawing characters", advice)
