"""``vmqtui get``: tables of engines' readings. ``vmqtui forget``: clear a host's retained messages."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from engine.counted import counted
from vmqtui.cli.attach import ALL, ANSWER_S, Readings, find_host, find_hosts, open_watcher
from vmqtui.cli.failures import DONE, failed, sentences, unusable, warn
from vmqtui.cli.options import Json
from vmqtui.cli.output import chosen_columns, print_csv, print_json, print_table
from vmqtui.cli.reach import BrokerOptions, HostOptions
from vmqtui.cli.run import run_async

if TYPE_CHECKING:
    from engine.bus.watcher import Watcher
    from engine.telemetry.stats import Source
    from vmqtui.columns import Column

_READINGS: Final = 2  # rates are differences
_OF_FLEET: Final = ("status", "summary")
_SUMMARY_S: Final = 1.25
"""A running host sends a summary within this time."""


_PING_S: Final = 2.0
_RETAINED_S: Final = 1.0
"""Retained messages arrive within this time after the subscription."""

Noun = Literal["hosts", "adapters", "queues", "filters", "buffers", "cpus", "ports"]


@dataclass(frozen=True)
class OneOrAllHosts(HostOptions):
    """A host of a broker, or all of them."""

    host: Annotated[
        str | None,
        typer.Option("--host", metavar="H", help="The host, where there are several; all: every one."),
    ] = None


@dataclass(frozen=True)
class TableOptions:
    """Which rows and columns of a table are printed, in which form, and how often."""

    adapter: Annotated[str | None, typer.Option("--adapter", metavar="A", help="Only this adapter.")] = None
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B,…", help="These columns only; default: all that fit."),
    ] = None
    json_: Json = False
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, with the names and numbers of the JSON document.")
    ] = False
    watch: Annotated[bool, typer.Option("--watch", help="Print again with every reading.")] = False


def get(
    noun: Annotated[Noun, typer.Argument(metavar="hosts|adapters|queues|filters|buffers|cpus|ports")],
    at: OneOrAllHosts,
    options: TableOptions,
) -> int:
    """Print a table of what a running engine reports."""
    from vmqtui.columns import COLUMNS
    from vmqtui.columns.export import of_hosts

    if options.csv and (options.json_ or options.watch):
        unusable(
            "--csv: not with --json, which is another form"
            if options.json_
            else "--csv: not with --watch, as rows have no time (vmqtui record, then vmqtui export csv)"
        )
    several = noun != "hosts" and at.host == ALL
    known = of_hosts(COLUMNS[noun]) if several else COLUMNS[noun]
    table = _Table(noun, chosen_columns(known, options.columns), options)
    with sentences():
        if noun == "hosts":
            return run_async(_get_hosts(table, at))
        return run_async(_get_of_all(table, at) if several else _get(table, at))


def forget(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host that is gone.")],
    at: BrokerOptions,
) -> int:
    """Clear what a host that is gone left retained on the broker."""
    from engine.bus.topics import checked_name

    with sentences():
        checked_name(host, "host name")
        return run_async(_forget(host, at))


class _Table:
    """The printer of one noun's table, with its columns and options."""

    def __init__(self, noun: Noun, columns: "Sequence[Column[Any]]", options: TableOptions) -> None:
        self.noun = noun
        self.adapter = options.adapter
        self.watch = options.watch
        self._columns = columns
        self._options = options
        self._printed = False

    def print(
        self, rows: Sequence[Any], counters: "Mapping[str, Source] | None" = None, **about: Any
    ) -> None:
        """Print rows; ``counters`` says how each counter of measured hosts is known, ``about`` are further
        fields of the JSON document. A blank line separates consecutive tables."""
        from vmqtui.columns import COLUMNS
        from vmqtui.columns.sources import sources_of

        sources = sources_of(COLUMNS[self.noun], counters or {})
        if self._options.json_:
            from vmqtui.columns.export import document

            print_json(document(self.noun, self._columns, rows, sources=sources, **about))
            return
        if self._options.csv:
            from vmqtui.columns.export import as_csv

            print_csv(as_csv(self._columns, rows))
            return
        if self._printed:
            print()
        self._printed = True
        every = self._options.columns is not None
        print_table(self._columns, rows, all_of_them=every, sources=sources, see="--columns A,B shows any")


async def _get(table: _Table, at: HostOptions) -> int:
    adapter = table.adapter
    async with open_watcher(at, at.host, user="viewer") as watcher:
        name = await find_host(watcher, at.host, several=True)
        readings = Readings(watcher, name)
        if not await readings.next(_READINGS):
            failed(readings.why_none)
        while True:
            snapshot = readings.snapshot
            if adapter is not None and adapter not in snapshot.adapter_names:
                fitting = ", ".join(snapshot.adapter_names)
                unusable(f"--adapter: {adapter!r} is not an adapter of {name}; {fitting} fits")
            counters = snapshot.sources(table.noun, adapter)
            table.print(snapshot.rows(table.noun, adapter), counters, host=name, stats=snapshot.stats)
            if not table.watch:
                return DONE
            if not await readings.next():
                failed(readings.why_none)


async def _get_of_all(table: _Table, at: BrokerOptions) -> int:
    """Print a table of the rows of all online hosts. A host that sends nothing is no failure: it gets no
    rows, and a warning."""
    import asyncio

    from engine.telemetry.stats import merged_sources
    from vmqtui.columns.export import OfHost

    adapter = table.adapter
    known: dict[str, Readings] = {}
    warned: set[str] = set()
    async with open_watcher(at, None, user="viewer") as watcher:
        await find_hosts(watcher)
        while True:
            online = sorted(name for name, view in watcher.hosts.items() if view.online)
            readings = [known.setdefault(name, Readings(watcher, name)) for name in online]
            count = 1 if any(one.seen for one in readings) else _READINGS
            awaited = [one for one in readings if one.arrived or not one.tried] or readings
            await asyncio.gather(
                *(one.next(count, ANSWER_S if one in awaited else 0.0) for one in readings),
                asyncio.sleep(ANSWER_S if table.watch and not readings else 0),
            )
            if watcher.state != "connected":
                failed(watcher.why)
            rows = [
                OfHost(one.name, row)
                for one in readings
                if one.arrived
                for row in one.snapshot.rows(table.noun, adapter)
            ]
            if adapter is not None and not rows:
                unusable(f"--adapter: {adapter!r} is not an adapter of any host")
            counters = merged_sources(
                one.snapshot.sources(table.noun, adapter) for one in readings if one.arrived
            )
            table.print(rows, counters, hosts=[one.name for one in readings if one.arrived])
            for one in readings:
                if not one.arrived and one.name not in warned:
                    warn(one.why_none)
            warned = {one.name for one in readings if not one.arrived}
            if not table.watch:
                return DONE


async def _get_hosts(table: _Table, at: HostOptions) -> int:
    """Print a row for every known host, from the status and summary messages of all hosts."""
    import asyncio

    from vmqtui.state.hosts import row_of_summary

    host = None if at.host == ALL else at.host
    async with open_watcher(at, host, user="viewer", kinds=_OF_FLEET) as watcher:
        await find_hosts(watcher)

        def all_heard() -> bool:
            return all(view.heard_live or not view.online for view in watcher.hosts.values())

        def all_heard_or_gone() -> bool:
            now = time.monotonic()
            return all(view.heard_live or view.is_gone(now) for view in watcher.hosts.values())

        if not await watcher.holds_within(all_heard, _SUMMARY_S):
            await watcher.holds_within(all_heard_or_gone, _SUMMARY_S)
        while True:
            if watcher.state != "connected":
                failed(watcher.why)
            now = time.monotonic()
            table.print([row_of_summary(view, now) for _, view in sorted(watcher.hosts.items())])
            if watcher.left_out_hosts:
                warn(
                    f"at least {counted(watcher.left_out_hosts, 'host is', 'hosts are')} left out:"
                    " there is no room for more"
                )
            if not table.watch:
                return DONE
            await asyncio.sleep(_SUMMARY_S)


async def _forget(host: str, at: BrokerOptions) -> int:
    from engine.bus.access_rules import RETAINED
    from engine.bus.errors import RequestTimeout

    async with open_watcher(at, host, user="operator") as watcher:
        if not await _is_retained(watcher, host):
            failed(f"nothing of host {host} is retained on the broker")
        try:
            await watcher.request(host, "ping", timeout=_PING_S)
            there = True
        except RequestTimeout:
            view = watcher.hosts.get(host)
            if view is None:  # it was cleared meanwhile
                failed(f"nothing of host {host} is retained on the broker")
            there = view.heard_live
        if there:
            failed(f"host {host} is there, and would publish again what is cleared: end its engine first")
        watcher.clear(host)
    async with open_watcher(at, host, user="operator") as watcher:
        if await _is_retained(watcher, host):
            failed(f"the broker did not let this user clear the topics of host {host} (docs/access.md)")
    print(f"cleared of host {host}: {', '.join(RETAINED)}")
    return DONE


async def _is_retained(watcher: "Watcher", host: str) -> bool:
    """Whether the broker retains any message of a host."""
    if not await watcher.holds_within(lambda: watcher.state == "connected", ANSWER_S):
        failed(watcher.why)
    return await watcher.holds_within(lambda: host in watcher.hosts, _RETAINED_S)
