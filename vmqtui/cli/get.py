"""``vmqtui get``: tables of what running engines report, and the way to an engine for other commands."""

from collections.abc import Callable, Sequence
from typing import Final

from engine.bus.discovery import unlisted_url
from engine.bus.topics import random_client
from engine.bus.watcher import HostView, Watcher
from engine.telemetry.stats import Stats
from vmqtui.cli.failures import DONE, failed, sentences, unusable
from vmqtui.cli.output import print_json, print_table
from vmqtui.cli.reach import broker_url
from vmqtui.cli.run import run_async
from vmqtui.columns import COLUMNS
from vmqtui.columns.export import document
from vmqtui.state.rows import Row
from vmqtui.state.snapshot import Snapshot

ANSWER_S: Final = 5.0
"""How long an engine may take to be found, and to answer."""
_READINGS: Final = 2  # rates are differences


def run_get(
    noun: str, *, broker: str | None, host: str | None, adapter: str | None, as_json: bool, watch: bool
) -> int:
    """Print a table, once or with every reading; the exit status."""
    with sentences():
        return run_async(_get(noun, broker, host, adapter, as_json, watch))


def open_watcher(
    broker: str | None,
    host: str | None,
    on_message: Callable[[str, str, bytes], None] | None = None,
    *,
    user: str,
) -> Watcher:
    """A watcher on the broker named, or on the one that the newest engine of this user has announced, as
    ``user`` of that."""
    url = broker_url(broker, user=user)
    if url is None:
        if (there := unlisted_url(user=user)) is not None:
            failed(f"no engine was found without --broker, but one listens at {there}: name that")
        failed("no engine was found: start one with vmqtui engine, or name a broker with --broker")
    client = random_client("viewer" if user == "viewer" else "vmq")
    return Watcher(url, host, client=client, on_message=on_message)


async def find_host(watcher: Watcher, host: str | None) -> str:
    """The one host there is, or the one named; it has to be there and online."""

    def found() -> bool:
        return any(view.online for view in watcher.hosts.values())

    if not await watcher.wait_for(found, ANSWER_S):
        if watcher.state != "connected":
            failed(watcher.why)
        failed(f"{f'host {host}' if host else 'no engine'} did not answer within {ANSWER_S:g} s")
    online = sorted(name for name, view in watcher.hosts.items() if view.online)
    if len(online) > 1:
        unusable(f"--host: the broker has several hosts; one of {', '.join(online)} fits")
    return online[0]


async def _get(
    noun: str, broker: str | None, host: str | None, adapter: str | None, as_json: bool, watch: bool
) -> int:
    async with open_watcher(broker, host, user="viewer") as watcher:
        if noun == "hosts":
            return await _get_hosts(watcher, as_json, watch)
        view = watcher.hosts[await find_host(watcher, host)]
        reading = _Reading(watcher, view)
        await reading.next()
        while True:
            snapshot = await reading.next()
            if adapter is not None and adapter not in snapshot.adapter_names:
                fitting = ", ".join(snapshot.adapter_names)
                unusable(f"--adapter: {adapter!r} is not an adapter of {view.name}; {fitting} fits")
            _print(noun, snapshot.rows(noun, adapter), as_json, view.name, snapshot.stats)
            if not watch:
                return DONE
            if not as_json:
                print()


async def _get_hosts(watcher: Watcher, as_json: bool, watch: bool) -> int:
    await find_any(watcher)
    readings = {name: _Reading(watcher, view) for name, view in watcher.hosts.items()}
    while True:
        rows: list[Row] = []
        for name, view in sorted(watcher.hosts.items()):
            reading = readings.setdefault(name, _Reading(watcher, view))
            if view.online:
                for _ in range(_READINGS if reading.snapshot is None else 1):
                    await reading.next()
            rows.append((reading.snapshot or Snapshot(name, status=view.status)).host_row)
        _print("hosts", rows, as_json, None, None)
        if not watch:
            return DONE
        if not as_json:
            print()


async def find_any(watcher: Watcher) -> None:
    """Wait until some host, online or not, is known."""
    if not await watcher.wait_for(lambda: any(view.status for view in watcher.hosts.values()), ANSWER_S):
        if watcher.state != "connected":
            failed(watcher.why)
        failed(f"no engine answered within {ANSWER_S:g} s")


class _Reading:
    """One host's readings, each joined with the one before it and the configuration it belongs to."""

    def __init__(self, watcher: Watcher, view: HostView) -> None:
        self._watcher = watcher
        self._view = view
        self._seen = 0
        self.snapshot: Snapshot | None = None

    async def next(self) -> Snapshot:
        """The next reading, with its configuration."""
        view = self._view

        def arrived() -> bool:
            return view.stats_received > self._seen and view.config is not None and view.stats is not None

        if not await self._watcher.wait_for(arrived, ANSWER_S):
            failed(f"host {view.name} sent no reading within {ANSWER_S:g} s")
        self._seen = view.stats_received
        before = self.snapshot.stats if self.snapshot else None
        self.snapshot = Snapshot(view.name, view.status, view.config, view.stats, before, tuple(view.events))
        return self.snapshot


def _print(noun: str, rows: Sequence[Row], as_json: bool, host: str | None, stats: Stats | None) -> None:
    if not as_json:
        print_table(noun, rows)
        return
    print_json(document(noun, COLUMNS[noun], rows, host, stats))
