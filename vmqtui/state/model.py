"""What the screen shows and how: one host's snapshot, its history, the viewer's choices."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from engine.telemetry.stats import Stats
from vmqtui.link import Link
from vmqtui.state.choices import Choices
from vmqtui.state.history import History
from vmqtui.state.liveness import Liveness, liveness
from vmqtui.state.readings import WINDOW_NS, Window
from vmqtui.state.rows import HostRow
from vmqtui.state.snapshot import Snapshot


class Model:
    """Follows one host of a link. ``take`` reads what is new; nothing here draws or waits."""

    def __init__(self, link: Link, host: str | None = None) -> None:
        self.link = link
        self.choices = Choices()
        self._wanted = host
        self._follow(host or "")

    def _follow(self, host: str) -> None:
        self.host = host
        self.snapshot = Snapshot(host)
        self.history = History()
        self.mark: Stats | None = None
        self._window = Window()
        self._recorded_ns: int | None = None

    def choose_host(self, host: str) -> None:
        """Show another host of the link, from a clean sheet."""
        if host != self.host:
            self._wanted = host
            self.choices.adapter = None
            self._follow(host)
            self.take()

    def take(self) -> bool:
        """Read the link's latest; whether anything of the host is new."""
        if not self.host and self.link.hosts:
            self._follow(self.link.hosts[0])
        view = self.link.view(self.host) if self.host else None
        if view is None:
            return False
        old = self.snapshot
        events = tuple(view.events)
        same = (view.status is old.status, view.config is old.config, view.stats is old.stats)
        if all(same) and events == old.events:
            return False
        before = old.before
        if view.stats is not None and view.stats is not old.stats:
            before = self._window.take(view.stats)
        joined = old.index if view.config is old.config else None
        if (
            self.mark is not None
            and view.stats is not None
            and view.stats.sim_time_ns < self.mark.sim_time_ns
        ):
            self.mark = None  # a new run: its counters began at 0
        self.snapshot = Snapshot(
            self.host, view.status, view.config, view.stats, before, events, joined, self.mark
        )
        adapters = self.snapshot.adapter_names
        if self.choices.adapter is not None and adapters and self.choices.adapter not in adapters:
            self.choices.adapter = None
        self._record()
        return True

    def reset_deltas(self) -> None:
        """Show counters since now, where they are shown as deltas."""
        self.mark = self.snapshot.stats
        self.snapshot = replace(self.snapshot, mark=self.mark, joined=self.snapshot.index)

    def _record(self) -> None:
        """A point of history for each second of simulated time."""
        stats = self.snapshot.stats
        if stats is None or (old := self._recorded_ns) == stats.sim_time_ns:
            return
        if old is not None and stats.sim_time_ns < old:
            self.history.clear()
            old = None
        if old is None or stats.sim_time_ns - old >= WINDOW_NS:
            self._recorded_ns = stats.sim_time_ns
            self.history.add(self.snapshot.series())

    def liveness(self) -> Liveness:
        """Whether what is shown is now."""
        link = self.link
        view = link.view(self.host) if self.host else None
        if view is None:
            waiting = (
                f"waiting for host {self.host}" if self._wanted and link.connection == "connected" else ""
            )
            return liveness(link.connection, waiting or link.progress, None, None, link.clock())
        return liveness(link.connection, link.progress, view.status, view.received, link.clock())

    def hosts(self) -> list[HostRow]:
        """Every host of the link; rates are known of the one that is shown."""
        rows: list[HostRow] = []
        for host in self.link.hosts:
            view = self.link.view(host)
            if host == self.host:
                rows.append(self.snapshot.host_row)
            elif view is not None:
                rows.append(Snapshot(host, view.status, view.config, view.stats).host_row)
        return rows

    def series(self, key: Hashable, count: int) -> Sequence[float | None]:
        """The last points of a series of the history."""
        return self.history.last(key, count)
