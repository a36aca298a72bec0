"""Readings of one host, as commands wait for them."""

from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from vmqtui.cli.attach import ANSWER_S
from vmqtui.state.snapshot import Snapshot


class Readings:
    """One host's readings, each joined with the one before it and the newest configuration."""

    def __init__(self, watcher: Watcher, name: str) -> None:
        self.name = name
        self.snapshot = Snapshot(name)
        self.arrived = False
        """Whether the last reading that was waited for came."""
        self.tried = False
        self.seen = 0
        self._watcher = watcher

    @property
    def view(self) -> HostView | None:
        """What the watcher knows of the host; None while it knows nothing."""
        return self._watcher.hosts.get(self.name)

    @property
    def why_none(self) -> str:
        """Why no reading came, in a sentence."""
        view = self.view
        if self._watcher.state != "connected":
            return self._watcher.why
        if view is not None and view.stats_unreadable:
            return f"host {self.name}: its readings can't be read ({view.stats_unreadable} came)"
        if view is not None and view.config is None and view.stats_received > self.seen:
            return f"host {self.name} sent no configuration that can be read within {ANSWER_S:g} s"
        return f"host {self.name} sent no reading within {ANSWER_S:g} s"

    async def next(self, count: int = 1, within_s: float = ANSWER_S) -> bool:
        """Wait for so many readings, each up to ``within_s``, and take the last two; whether they came."""
        self.arrived, self.tried = False, True
        for _ in range(count):
            if not await self._watcher.wait_for(self._came, within_s):
                return False
            view = self.view
            assert view is not None
            self.seen = view.stats_received
            before = self.snapshot.stats
            self.snapshot = Snapshot(
                self.name, view.status, view.config, view.stats, before, tuple(view.events)
            )
        self.arrived = True
        return True

    def _came(self) -> bool:
        """Whether a reading that can be read came, and a configuration. Each is decoded, so that one that
        can't be is counted."""
        view = self.view
        if view is None or view.stats_received <= self.seen:
            return False
        return view.stats is not None and view.config is not None and not view.stats_unreadable
