"""The checks of ``vmqtui doctor``: each is a function that yields findings.

Expected errors become findings, not exceptions. ``vmqtui.cli.doctor`` prints them.
"""

import locale
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal

from engine import __version__
from engine.bus.broker import EmbeddedBroker
from engine.bus.discovery import own_url, runtime_directory
from engine.bus.errors import BadUrl, BrokerFailed
from engine.bus.urls import BrokerUrl, is_loopback
from engine.bus.watcher import Watcher
from engine.counted import counted
from engine.dataplane.memory import free_bytes, total_bytes
from engine.kernels.cache import CACHE_DIRECTORY, REFUSED, faults
from engine.kernels.layout import AdapterSizes, Sizes, batch_frames_for
from engine.kernels.prepare import MODULES, why_at_every_start
from engine.logs import log_directory
from engine.ndis.host import Host
from engine.scenario.load import default_scenario
from engine.service.leftovers import leftovers, remove
from vmqtui.preferences.file import PreferencesError, config_path, load_preferences

_ANSWER_S: Final = 6.0
_LEAST: Final = (80, 24)
_OLDEST: Final = (3, 11)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*([^;\[]*)")
_BOUND: Final = re.compile(r"(>=|<=|==|<|>)\s*([0-9.]+)")


Verdict = Literal["ok", "note", "failed"]
"""``note``: it works but could be better, or it can't be checked here."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``advice`` is what the user can do; "" if nothing."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def python() -> Iterator[Finding]:
    """Check the version of the running interpreter."""
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info >= _OLDEST:
        yield Finding("python", "ok", found)
    else:
        yield Finding("python", "failed", found, "install Python 3.11 or later and make a new environment")


def packages() -> Iterator[Finding]:
    """Check the versions of the required packages, then those of each extra."""
    try:
        lines = metadata.requires("vmqtui") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "note", "vmqtui runs from a folder, not installed", "pip install -e .")
        return
    needed = [line for line in lines if "extra ==" not in line]
    wrong = [problem for line in needed if (problem := misfit(line))]
    if wrong:
        yield Finding("packages", "failed", "; ".join(wrong), "run pip install again: pip install -e .")
    else:
        yield Finding(
            "packages", "ok", f"vmqtui {__version__}; all {len(needed)} that it needs are there and fit"
        )
    for extra in sorted(metadata.metadata("vmqtui").get_all("Provides-Extra") or []):
        mine = [line for line in lines if re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", line)]
        missing = [problem for line in mine if (problem := misfit(line))]
        if missing:
            yield Finding(
                f"extra {extra}",
                "note",
                "; ".join(missing),
                f"where it is wanted: pip install -e '.[{extra}]'",
            )
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def misfit(requirement: str) -> str:
    """The problem with a required package, in words; "" if its version satisfies the requirement."""
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return ""
    name, bounds = match[1], match[2].strip()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    have = _numbers(version)
    for sign, bound in _BOUND.findall(bounds):
        want = _numbers(bound)
        width = max(len(have), len(want))
        mine, other = ((*one, *[0] * (width - len(one))) for one in (have, want))
        fits = {"<": mine < other, "<=": mine <= other, ">": mine > other, ">=": mine >= other}
        if not fits.get(sign, mine == other):
            return f"{name} {version} is not {bounds}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-zA-Z+]", version)[0]))


def kernels() -> Iterator[Finding]:
    """Check that compiled kernels can be cached, and that the cached ones are complete and intact."""
    if CACHE_DIRECTORY is None:
        advice = "give the user a cache directory of its own (XDG_CACHE_HOME names another)"
        yield Finding("kernels", "note", f"{why_at_every_start()}: some 10 s", advice)
        return
    for why in REFUSED:
        advice = f"nothing, or give it to its user alone: {CACHE_DIRECTORY} is used"
        yield Finding("kernels", "note", f"the first cache directory is not used: {why}", advice)
    found = {module: faults(CACHE_DIRECTORY, module) for module in MODULES}
    missing = [module for module, whys in found.items() if whys is None]
    if missing:
        yield Finding(
            "kernels",
            "note",
            f"{len(missing)} of {counted(len(MODULES), 'module')} not compiled yet; they will be kept in"
            f" {CACHE_DIRECTORY}",
            "nothing: who needs them first compiles them, once",
        )
    if damaged := [why for whys in found.values() for why in whys or ()]:
        advice = "nothing: the next engine compiles them again"
        yield from (Finding("kernels", "note", why, advice) for why in damaged)
    elif not missing:
        yield Finding(
            "kernels", "ok", f"all {counted(len(MODULES), 'module')} compiled and whole, in {CACHE_DIRECTORY}"
        )


def shared_memory() -> Iterator[Finding]:
    """Check that enough shared memory is free for the default scenario."""
    needed, free = default_bytes(), free_bytes()
    found = f"{free:,} bytes are free, the default scenario needs {needed:,}"
    if needed <= free:
        yield Finding("shared memory", "ok", found)
    else:
        advice = "end other programs, enlarge /dev/shm (in a container: --shm-size), or ask for fewer buffers"
        yield Finding("shared memory", "failed", found, advice)


def default_bytes() -> int:
    """Bytes of shared memory that an engine allocates for the default scenario."""
    scenario = default_scenario()
    host = Host(scenario, None)
    host.start()
    adapters = tuple(
        AdapterSizes(
            adapter.max_queues + 1,
            adapter.max_filters + 1,
            1 << (2 * need.max_steering_rows).bit_length(),
            adapter.total_buffers,
            adapter.max_frame_bytes,
            need.max_vms,
        )
        for adapter, need in zip(scenario.adapter, host.adapters, strict=True)
    )
    return total_bytes(Sizes(scenario.host.cpus, adapters, batch_frames_for(scenario.host.cpus)))


def directories() -> Iterator[Finding]:
    """Check the runtime directory (where engines announce themselves), the log directory and the
    configuration file."""
    try:
        yield Finding("runtime directory", "ok", str(runtime_directory()))
    except OSError as error:
        advice = "without it, commands find an engine only by --broker URL"
        yield Finding("runtime directory", "note", str(error), advice)
    logs = log_directory()
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=logs):
            yield Finding("log directory", "ok", str(logs))
    except OSError as error:
        advice = "nothing is logged until it can be written (VMQTUI_LOG_DIR names another)"
        yield Finding("log directory", "note", f"{logs}: {error.strerror or error}", advice)
    try:
        load_preferences()
        file = config_path()
        yield Finding("configuration", "ok", f"{file}{'' if file.exists() else ': not there, defaults hold'}")
    except PreferencesError as error:
        yield Finding("configuration", "failed", str(error), "correct or remove that line")


def stale(*, clean: bool) -> Iterator[Finding]:
    """Report the leftovers of crashed engines; remove them if ``clean``."""
    found = leftovers()
    if not found:
        yield Finding("leftovers", "ok", "crashed engines left nothing behind")
    for path in found:
        held = f"{path}: of an engine that is no more"
        if not clean:
            yield Finding("leftovers", "note", held, "the next engine removes it, or vmqtui doctor --clean")
            continue
        try:
            remove(path)
            yield Finding("leftovers", "ok", f"{path}: removed")
        except OSError as error:
            yield Finding("leftovers", "failed", f"{held}; {error.strerror or error}", "remove it by hand")


async def embedded_broker() -> AsyncIterator[Finding]:
    """Start the embedded broker, the default of ``vmqtui``, and connect to it."""
    try:
        async with EmbeddedBroker() as broker:
            yield await _reached(
                "embedded broker", broker.url, "see vmqtui logs show; a firewall on loopback?"
            )
    except BrokerFailed as error:
        yield Finding("embedded broker", "failed", str(error), "use a broker of your own with --broker URL")


async def named_broker(url: str, complete: Callable[[BrokerUrl], BrokerUrl]) -> AsyncIterator[Finding]:
    """Connect to the broker at ``url``; ``complete`` adds the parts that the URL lacks."""
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
        await watcher.holds_within(lambda: watcher.state != "connecting", _ANSWER_S)
        if watcher.state == "connected":
            return Finding(subject, "ok", f"{url} answered after {(time.monotonic() - began) * 1000:.0f} ms")
        return Finding(subject, "failed", watcher.why, advice)


def terminal() -> Iterator[Finding]:
    """Check the terminal on standard output: size, colours and characters."""
    if not sys.stdout.isatty():
        found = "standard output is no terminal, so nothing can be told of one"
        yield Finding("terminal", "note", found, "run vmqtui doctor where the dashboard is to run")
        return
    size = os.get_terminal_size(sys.stdout.fileno())
    yield terminal_size(size.columns, size.lines)
    yield colours(os.environ, windows=sys.platform == "win32")
    yield characters(sys.stdout.encoding or locale.getencoding())


def terminal_size(columns: int, lines: int) -> Finding:
    """Check that the terminal is large enough for the dashboard."""
    found = f"{counted(columns, 'column')}, {counted(lines, 'line')}"
    if columns >= _LEAST[0] and lines >= _LEAST[1]:
        return Finding("terminal size", "ok", found)
    return Finding("terminal size", "note", found, f"enlarge it to {_LEAST[0]} by {_LEAST[1]}, or more")


def colours(environment: Mapping[str, str], *, windows: bool) -> Finding:
    """Check the number of colours that the environment advertises."""
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
    """Check that ``encoding`` has the box-drawing characters."""
    try:
        "─│╭▁█△▲".encode(encoding)
        return Finding("characters", "ok", f"{encoding}: everything that is drawn can be written")
    except (UnicodeEncodeError, LookupError):
        advice = "use a UTF-8 locale: export LANG=C.UTF-8"
        return Finding("characters", "failed", f"{encoding} has no box-drawing characters", advice)
