"""``vmqtui get``: tables of what running engines report."""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from engine.counted import counted
from vmqtui.cli.attach import ALL, ANSWER_S, find_host, find_hosts, open_watcher
from vmqtui.cli.failures import DONE, failed, sentences, unusable, warn
from vmqtui.cli.output import chosen_columns, print_json, print_table
from vmqtui.cli.readings import Readings
from vmqtui.cli.run import run_async
from vmqtui.columns import COLUMNS, Column
from vmqtui.columns.export import OfHost, document, of_hosts
from vmqtui.state.hosts import row_of_summary

_READINGS: Final = 2  # rates are differences
_OF_FLEET: Final = ("status", "summary")
_SUMMARY_S: Final = 1.25
"""A host that is there sends a summary in so much time."""


def run_get(
    noun: str,
    *,
    broker: str | None,
    host: str | None,
    adapter: str | None,
    columns: str | None,
    as_json: bool,
    watch: bool,
) -> int:
    """Print a table, once or with every reading; the exit status."""
    several = noun != "hosts" and host == ALL
    known = of_hosts(COLUMNS[noun]) if several else COLUMNS[noun]
    table = _Table(noun, chosen_columns(known, columns), columns is not None, as_json, watch)
    with sentences():
        if noun == "hosts":
            return run_async(_get_hosts(table, broker, None if host == ALL else host))
        if several:
            return run_async(_get_of_all(table, broker, adapter))
        return run_async(_get(table, broker, host, adapter))


class _Table:
    """How a noun is printed: the columns, whether those were named, and the form."""

    def __init__(
        self, noun: str, columns: Sequence[Column[Any]], named: bool, as_json: bool, watch: bool
    ) -> None:
        self.noun = noun
        self.watch = watch
        self._columns = columns
        self._named = named
        self._as_json = as_json
        self._printed = False

    def print(self, rows: Sequence[Any], **about: Any) -> None:
        """Print rows; ``about`` is what a document says of them beside. One table follows another after a
        blank line."""
        if self._as_json:
            print_json(document(self.noun, self._columns, rows, **about))
            return
        if self._printed:
            print()
        self._printed = True
        left_out = print_table(self._columns, rows, all_of_them=self._named)
        if left_out and sys.stderr.isatty():
            names = ", ".join(left_out)
            print(
                f"({counted(len(left_out), 'column')} left out for room; --columns A,B shows any: {names})",
                file=sys.stderr,
            )


async def _get(table: _Table, broker: str | None, host: str | None, adapter: str | None) -> int:
    async with open_watcher(broker, host, user="viewer") as watcher:
        name = await find_host(watcher, host, several=True)
        readings = Readings(watcher, name)
        if not await readings.next(_READINGS):
            failed(readings.why_none)
        while True:
            snapshot = readings.snapshot
            if adapter is not None and adapter not in snapshot.adapter_names:
                fitting = ", ".join(snapshot.adapter_names)
                unusable(f"--adapter: {adapter!r} is not an adapter of {name}; {fitting} fits")
            table.print(snapshot.rows(table.noun, adapter), host=name, stats=snapshot.stats)
            if not table.watch:
                return DONE
            if not await readings.next():
                failed(readings.why_none)


async def _get_of_all(table: _Table, broker: str | None, adapter: str | None) -> int:
    """A table of the rows of all hosts that are online. A host that sends nothing fails nothing: it has no
    rows, and a warning."""
    known: dict[str, Readings] = {}
    warned: set[str] = set()
    async with open_watcher(broker, None, user="viewer") as watcher:
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
            table.print(rows, hosts=[one.name for one in readings if one.arrived])
            for one in readings:
                if not one.arrived and one.name not in warned:
                    warn(one.why_none)
            warned = {one.name for one in readings if not one.arrived}
            if not table.watch:
                return DONE


async def _get_hosts(table: _Table, broker: str | None, host: str | None) -> int:
    """A row for every host known: status and summary are read, of all hosts at once."""
    async with open_watcher(broker, host, user="viewer", kinds=_OF_FLEET) as watcher:
        await find_hosts(watcher)

        def all_heard() -> bool:
            return all(view.heard_live or not view.online for view in watcher.hosts.values())

        def all_heard_or_gone() -> bool:
            now = time.monotonic()
            return all(view.heard_live or view.is_gone(now) for view in watcher.hosts.values())

        if not await watcher.wait_for(all_heard, _SUMMARY_S):
            await watcher.wait_for(all_heard_or_gone, _SUMMARY_S)
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
