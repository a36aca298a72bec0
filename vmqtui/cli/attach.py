"""Attach commands to engines: connect to the broker, find the host, and wait for its readings."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from vmqtui.cli.failures import failed, unusable
from vmqtui.cli.reach import BrokerOptions

if TYPE_CHECKING:
    from engine.bus.host_view import HostView
    from engine.bus.watcher import Watcher

ANSWER_S: Final = 5.0
"""Timeout for finding an engine, and for its answer."""
_QUIET_S: Final = 0.15
_NAMED: Final = 8
ALL: Final = "all"
"""The value of ``--host`` that selects all hosts, for commands that support several."""


def open_watcher(
    at: BrokerOptions,
    host: str | None,
    on_message: Callable[[str, str, bytes], None] | None = None,
    *,
    user: str,
    kinds: Sequence[str] | None = None,
) -> "Watcher":
    """Return a watcher on the named broker, or else on that of this person's newest engine.

    ``user`` is its user on that engine's broker. It subscribes to all kinds of messages, or to ``kinds``.
    """
    from engine.bus.discovery import unlisted_url
    from engine.bus.topics import random_client
    from engine.bus.watcher import KINDS, Watcher

    url = at.find(user=user)
    if url is None:
        if (there := unlisted_url(user=user)) is not None:
            failed(f"no engine was found without --broker, but one listens at {there}: name that")
        failed("no engine was found: start one with vmqtui engine, or name a broker with --broker")
    client = random_client("viewer" if user == "viewer" else "vmq")
    return Watcher(url, host, client=client, on_message=on_message, kinds=kinds or KINDS)


async def find_host(watcher: "Watcher", host: str | None, *, several: bool = False) -> str:
    """Wait for the named host, or the only one, to be online, and return its name.

    ``several``: the command supports all hosts, so the error for several hosts suggests ``--host all``.
    """

    def found() -> bool:
        return any(view.online for view in watcher.hosts.values())

    if not await watcher.holds_within(found, ANSWER_S):
        if watcher.state != "connected":
            failed(watcher.why)
        failed(f"{f'host {host}' if host else 'no engine'} did not answer within {ANSWER_S:g} s")
    if host is None:
        await _all_retained(watcher)
    online = sorted(name for name, view in watcher.hosts.items() if view.online)
    if len(online) > 1:
        named = [*online[:_NAMED], *([f"{len(online) - _NAMED} more"] if len(online) > _NAMED else [])]
        fitting = ", ".join([*named, ALL] if several else named)
        unusable(f"--host: the broker has several hosts; one of {fitting} fits")
    return online[0]


async def find_hosts(watcher: "Watcher") -> None:
    """Wait until all hosts with retained messages on the broker are known, online or not."""
    if not await watcher.holds_within(lambda: bool(watcher.hosts), ANSWER_S):
        if watcher.state != "connected":
            failed(watcher.why)
        failed(f"no engine answered within {ANSWER_S:g} s")
    await _all_retained(watcher)


async def _all_retained(watcher: "Watcher") -> None:
    """Wait until no new host appears for ``_QUIET_S``: retained messages arrive in one burst."""
    more = True
    while more:
        more = await watcher.holds_within(partial(_more_hosts, watcher, len(watcher.hosts)), _QUIET_S)


def _more_hosts(watcher: "Watcher", count: int) -> bool:
    return len(watcher.hosts) > count


class Readings:
    """One host's readings, each joined with the one before it and the newest configuration."""

    def __init__(self, watcher: "Watcher", name: str) -> None:
        from vmqtui.state.snapshot import Snapshot

        self.name = name
        self.snapshot: Snapshot = Snapshot(name)
        self.arrived: bool = False
        """Whether the last call of ``next`` got its readings."""
        self.tried: bool = False
        self.seen: int = 0
        self._watcher = watcher

    @property
    def view(self) -> "HostView | None":
        """The watcher's view of the host; None while the host is unknown."""
        return self._watcher.hosts.get(self.name)

    @property
    def why_none(self) -> str:
        """A sentence that explains why no reading arrived."""
        view = self.view
        if self._watcher.state != "connected":
            return self._watcher.why
        if view is not None and view.stats_unreadable:
            return f"host {self.name}: its readings can't be read ({view.stats_unreadable} came)"
        if view is not None and view.config is None and view.stats_received > self.seen:
            return f"host {self.name} sent no configuration that can be read within {ANSWER_S:g} s"
        return f"host {self.name} sent no reading within {ANSWER_S:g} s"

    async def next(self, count: int = 1, within_s: float = ANSWER_S) -> bool:
        """Wait for ``count`` readings, each up to ``within_s``, and keep the last two in ``snapshot``; return
        whether all arrived."""
        from vmqtui.state.snapshot import Snapshot

        self.arrived, self.tried = False, True
        for _ in range(count):
            if not await self._watcher.holds_within(self._came, within_s):
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
        """Whether a new readable reading and a configuration arrived. Accessing them decodes them, which
        counts unreadable ones."""
        view = self.view
        if view is None or view.stats_received <= self.seen:
            return False
        return view.stats is not None and view.config is not None and not view.stats_unreadable
