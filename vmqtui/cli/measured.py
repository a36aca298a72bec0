"""``vmqtui agent`` and ``vmqtui watch``: the real adapters of this machine, on a bus and on the screen."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vmqtui.cli import tied
from vmqtui.cli.dashboard import ScreenOptions, show_private_agent
from vmqtui.cli.engine import OwnBrokerOptions, serve_until_ended
from vmqtui.cli.failures import DONE, failed, sentences, unusable, warn
from vmqtui.cli.logs import EngineLogOptions
from vmqtui.cli.options import Json
from vmqtui.cli.output import print_json, print_table
from vmqtui.cli.reach import BrokerOptions
from vmqtui.cli.run import run_async

if TYPE_CHECKING:
    from engine.measure.host import MeasuredSource
    from engine.measure.linux import LinuxProbe
    from engine.measure.linux_host import Captures
    from engine.service.measuring import Agent
    from engine.telemetry.config import Config
    from engine.telemetry.stats import Columns, Stats

INTERVAL_S: Final = 0.25
WINDOWS_INTERVAL_S: Final = 10.0
"""On Windows each reading starts PowerShell, whose cmdlets take seconds."""
_ONCE_S: Final = 1.0
"""Time between the two readings of ``--once``."""

Adapters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ADAPTER",
        help="These adapters; default: those with several queues, else all.",
        show_default=False,
    ),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        metavar="S",
        min=0.1,
        max=60,
        help="Seconds between readings; default: 0.25, on Windows 10.",
    ),
]
CaptureDefault = Annotated[
    bool,
    typer.Option(
        "--capture-default", help="Capture, to tell which MAC and VLAN comes to the default queue, and why."
    ),
]


def agent(
    *,
    adapters: Adapters = None,
    at: BrokerOptions,
    own: OwnBrokerOptions,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="NAME", help="Publish under this name; default: the machine's."),
    ] = None,
    interval: Interval = None,
    capture_default: CaptureDefault = False,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
    ] = None,
    log: EngineLogOptions,
) -> int:
    """Publish this machine's real adapters, as an engine does its model. It takes no requests.

    Its first line is the URL of its broker. Nothing on the machine is changed, and no rights are needed.
    """
    return _run(
        adapters or (),
        at,
        own,
        log,
        host=host,
        interval_s=interval or _interval_s(),
        capture_default=capture_default,
        duration_s=duration,
    )


def run_tied(options: str) -> int:
    """Run a dashboard's agent, by what ``tied.arguments`` wrote; return the exit status."""
    return tied.run(
        tied.TiedAgent,
        options,
        lambda it: _run(
            it.adapters,
            BrokerOptions(),
            OwnBrokerOptions(),
            EngineLogOptions(it.log_format),
            interval_s=it.interval_s,
            capture_default=it.capture_default,
            is_tied=True,
        ),
    )


def _run(
    adapters: Sequence[str],
    at: BrokerOptions,
    own: OwnBrokerOptions,
    log: EngineLogOptions,
    *,
    host: str | None = None,
    interval_s: float,
    capture_default: bool,
    duration_s: float | None = None,
    is_tied: bool = False,
) -> int:
    """Run an agent until its end or ``duration_s``; return the exit status. One that ``is_tied`` also ends
    when standard input closes."""
    from engine.bus.topics import checked_name
    from vmqtui.preferences.file import load_preferences

    own.check(at)
    with sentences():
        name = _own_name() if host is None else checked_name(host, "host name")
        url = at.named(user="owner") if not is_tied else None
        thresholds = load_preferences().advice
        listening = own.listening(at.listening_tls())
    log.begin("agent", tied=is_tied)

    def build() -> "Agent":
        from engine.service.measuring import Agent

        return Agent(
            _source(adapters, name, capture_default=capture_default),
            host=name,
            broker=url,
            listen=listening,
            interval_s=interval_s,
            announce=own.announced(listening),
            viewers=own.viewer or [],
            thresholds=thresholds,
            progress=_say,
        )

    with sentences(), _reading():
        return run_async(serve_until_ended(build, duration_s, is_tied, own_broker=url is None))


def watch(
    *,
    adapters: Adapters = None,
    interval: Interval = None,
    capture_default: CaptureDefault = False,
    once: Annotated[
        bool, typer.Option("--once", help="Print a table of the queues after two readings, and end.")
    ] = False,
    json_: Json = False,
    screen: ScreenOptions,
) -> int:
    """Show this machine's real adapters in the dashboard. Nothing on the machine is changed."""
    if once:
        source = _source(adapters, _own_name(), capture_default=capture_default)
        return _print_once(source, interval or _ONCE_S, as_document=json_)
    if json_:
        unusable("--json: is the form of --once, which it needs")
    if _is_windows():
        _refuse_capture(capture_default)
    else:
        _probe(adapters, capture_default=capture_default).close()
    own = tied.TiedAgent(adapters or (), interval or _interval_s(), capture_default, screen.log_format)
    return show_private_agent(own, screen)


def _own_name() -> str:
    from engine.scenario.load import machine_name

    return machine_name()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _source(adapters: Sequence[str] | None, host: str, *, capture_default: bool) -> "MeasuredSource":
    """The reader of this machine's adapters. Ends with status 2 if one is not there, or can't be captured."""
    if _is_windows():
        _refuse_capture(capture_default)
        from engine.measure.windows_source import WindowsSource

        return WindowsSource(host, adapters or ())
    from engine.measure.linux_host import LinuxSource

    probe = _probe(adapters, capture_default=capture_default)
    return LinuxSource(probe, host, _captures() if capture_default else None)


def _probe(adapters: Sequence[str] | None, *, capture_default: bool) -> "LinuxProbe":
    """What reads this machine. Ends with status 2 if it can't read, or capture, what is asked for."""
    if not (system := _system()).startswith("linux"):
        words = {"darwin": "macOS"}.get(system, system)
        unusable(f"watch and agent read Linux and Windows machines, and this machine runs {words}")
    from engine.measure.host import UnknownAdapterError
    from engine.measure.linux import LinuxProbe

    try:
        probe = LinuxProbe(adapters or ())
    except UnknownAdapterError as error:
        unusable(error)
    if capture_default:
        from engine.traffic.libpcap import InterfaceError, check_right

        try:
            for adapter in probe.read().adapters:
                check_right(adapter.name)
        except InterfaceError as error:
            unusable(f"--capture-default: {str(error).removeprefix('interface: ')}")
    return probe


def _captures() -> "Captures":
    """Compile the kernels of captures, and load them."""
    from engine.kernels.prepare import OF_DEFAULT_QUEUE, KernelError, prepare

    try:
        prepare(_say, OF_DEFAULT_QUEUE)
    except KernelError as error:
        failed(error)
    from engine.measure.default_queue import DefaultQueueCaptures

    return DefaultQueueCaptures()


def _system() -> str:
    return sys.platform


def _is_windows() -> bool:
    return _system() == "win32"


def _interval_s() -> float:
    return WINDOWS_INTERVAL_S if _is_windows() else INTERVAL_S


def _refuse_capture(capture_default: bool) -> None:
    if capture_default:
        unusable("--capture-default: captures on Linux only")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    from engine.measure.host import SourceError, UnknownAdapterError

    try:
        yield
    except UnknownAdapterError as error:
        unusable(error)
    except SourceError as error:
        failed(f"this machine's adapters can't be read: {error}")
    except OSError as error:
        failed(f"this machine's adapters can't be read: {error.strerror or error}")


def _print_once(source: "MeasuredSource", interval_s: float, *, as_document: bool) -> int:
    """Print what two readings tell, with rates of the time between them."""
    with closing(source), _reading():
        first = source.read()
        time.sleep(interval_s)
        second = source.read()
    config = second.config or first.config
    assert config is not None
    for event in (*first.events, *second.events):
        if event.event in ("reading_trouble", "adapter_gone"):
            warn(event.cause)
    if as_document:
        print_json(_document(config, second.stats, first.stats))
    else:
        _print_tables(config, second.stats, first.stats)
    return DONE


def _print_tables(config: "Config", stats: "Stats", before: "Stats") -> None:
    """Print the queues of all adapters, and how each column is known."""
    from engine.bus.messages import Status
    from vmqtui.columns import COLUMNS
    from vmqtui.columns.sources import sources_of
    from vmqtui.state.snapshot import Snapshot

    status = Status(state="online", kind="measured", controls=False)
    snapshot = Snapshot(config.host, status, config, stats, before)
    sources = sources_of(COLUMNS["queues"], snapshot.sources("queues", None))
    print_table(COLUMNS["queues"], snapshot.rows("queues", None), sources=sources)


def _document(config: "Config", stats: "Stats", before: "Stats") -> dict[str, Any]:
    """The document of ``--once --json``: configuration and counters of the second reading, and rates."""
    import msgspec

    from engine.telemetry.stats import AdapterStats
    from engine.view.rates import one_row

    seconds = (stats.sim_time_ns - before.sim_time_ns) / 1e9

    def of_adapter(now: AdapterStats, then: AdapterStats | None) -> dict[str, Any]:
        port = _rates(one_row(now.port), one_row(then.port) if then else {}, seconds)
        return {
            "port": {name: rates[0] for name, rates in port.items() if name != "id"},
            "queues": _rates(now.queues, then.queues if then else {}, seconds, ("id", "generation")),
            "filters": _rates(now.filters, then.filters if then else {}, seconds),
        }

    return {
        "schema": "vmq.watch/1",
        "host": config.host,
        "seconds": seconds,
        "config": msgspec.to_builtins(config),
        "stats": msgspec.to_builtins(stats),
        "rates": {
            "cpus": _rates(stats.cpus, before.cpus, seconds),
            "adapters": {
                name: of_adapter(one, before.adapters.get(name)) for name, one in stats.adapters.items()
            },
        },
    }


def _rates(
    now: "Columns", before: "Columns", seconds: float, identity: tuple[str, ...] = ("id",)
) -> dict[str, list[Any]]:
    """Growth per second of the counters of a table, in columns beside those that identify its rows."""
    from engine.ndis import counters
    from engine.view.rates import CounterTable

    table = CounterTable(now, before, seconds, identity)
    gauges = {one.name for one in (*counters.QUEUE_GAUGES, *counters.QUEUE_LATENCY, *counters.CPU_GAUGES)}
    return {
        name: cells if name in identity else [table.rate(name, row) for row in range(len(table.keys))]
        for name, cells in now.items()
        if name not in gauges
    }
