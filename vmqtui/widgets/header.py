"""The header, the tabs, the key bar, and the notice on a screen that is too small."""

from collections import Counter
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import ClassVar

from textual import events
from textual.message import Message

from engine.counted import counted
from engine.telemetry.config import AdapterConfig
from engine.view.adapter import AdapterView
from engine.view.rates import known_sum, whole_sum
from vmqtui.actions import VIEWS, Action, first_key
from vmqtui.columns.column import load_level
from vmqtui.draw import Line, clip, spark, spread, width_of
from vmqtui.numbers import clock, compact, decimal, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.widgets.canvas import Canvas

_STATE = {
    "connecting": ("◌", "warn"),
    "empty": ("○", "dim"),
    "live": ("●", "good"),
    "stale": ("◍", "warn"),
    "unreadable": ("◍", "bad"),
    "silent": ("○", "bad"),
    "offline": ("■", "bad"),
    "paused": ("‖", "!warn"),
    "playing": ("▶", "!warn"),
}


_LATE_NS = 100_000_000


def lateness(behind_ns: int, real_time_ratio: float | None, width: int) -> Line:
    """Return how far simulated time lags, and its speed; an empty line below ``_LATE_NS``."""
    if behind_ns <= _LATE_NS:
        return []
    speed = ""
    if real_time_ratio is not None:
        speed = f"{real_time_ratio:.2f}×{' real time' if width >= 100 else ''}, "
    return [(f"△ {speed}{clock(behind_ns)} behind  ", "warn")]


def _link_and_driver(settings: AdapterConfig) -> str:
    """Return an adapter's link and driver in words, as far as they are known."""
    speed = "link –" if settings.link_gbps is None else f"{settings.link_gbps:g} Gbit/s"
    ndis = settings.ndis_version
    driver = settings.nic_driver or (None if ndis is None else f"NDIS {ndis}")
    words = [speed if settings.link_up is not False else "link down", printable(driver or "")]
    return " · ".join(filter(None, words))


def _in_teams(rows: Sequence[AdapterView]) -> str:
    """Return the numbers of adapters by team, in words."""
    teams = Counter(row.team_words for row in rows if row.team)
    words = [f"{printable(team)}: {counted(count, 'adapter')}" for team, count in teams.items()]
    alone = len(rows) - teams.total()
    if alone or not words:
        words.append(counted(alone, f"{'other ' * bool(words)}adapter"))
    return " · ".join(words)


def _at_least(total: float | None, least: float | None) -> str:
    """Format a rate of losses, with a mark if there are any; the known part of it if the rest is unknown."""
    words = compact(total) if total is not None or not least else f"≥{compact(least)}"
    return f"▲{words}" if least else words


class Header(Canvas):
    """The host, its state, and its totals."""

    DEFAULT_CSS: ClassVar[str] = "Header { height: 2; }"

    def __init__(self, model: Model) -> None:
        super().__init__("header")
        self._model = model

    def paint(self, width: int, height: int) -> list[Line]:
        return [self._who(width), self._what(width)]

    def _who(self, width: int) -> Line:
        model = self._model
        snapshot, alive = model.snapshot, model.liveness()
        glyph, role = _STATE[alive.state]
        left: Line = [(" vmqtui ", "!accent"), (f"  {printable(model.host) or '–'}", "strong")]
        shown = [row for row in snapshot.adapters if model.choices.adapter in (None, row.adapter)]
        if model.choices.adapter is None and len(shown) > 1:
            left.append((f"  {_in_teams(shown)}", "title"))
        for row in shown if len(shown) == 1 else ():
            left.append((f"  {printable(row.adapter)}", "title"))
            if row.team:
                left.append((f" in {printable(row.team_words)}", "title"))
            if row.config is not None:
                left.append((f"  {_link_and_driver(row.config)}", "dim"))
        if snapshot.config is not None and width >= 110:
            left.append((f"  {printable(snapshot.config.traffic)}", "dim"))
        right: Line = []
        measured = snapshot.status is not None and snapshot.status.kind == "measured"
        if measured:
            right.append(("measured  ", "accent"))
        elif model.link.read_only:
            right.append(("read-only  ", "dim"))
        right += self._down()
        if width >= 100 and model.missed:
            right.append((f"{counted(model.missed, 'reading')} missed  ", "dim"))
        stats = snapshot.stats
        if stats is not None:
            if not measured:
                right += lateness(stats.behind_ns, stats.real_time_ratio, width)
            time = "up " if measured else "sim "
            right += [(time, "dim"), (clock(stats.sim_time_ns), "text"), ("  ", "text")]
        badge = f" {glyph} {alive.state} " if role.startswith("!") else f"{glyph} {alive.state}"
        right += [(badge, role), (" ", "text")]
        room = width - width_of(right) - 1
        return spread(clip(left, room), right, width)

    def _what(self, width: int) -> Line:
        model = self._model
        alive = model.liveness()
        if model.snapshot.stats is None or alive.state in ("connecting", "empty"):
            return clip(
                [(f" {printable(alive.words)}", "warn" if alive.state == "offline" else "dim")], width
            )
        adapters = [row for row in model.snapshot.adapters if model.choices.adapter in (None, row.adapter)]
        left = self._totals(adapters, width)
        if alive.words:
            past: Line = [(text, "dim") for text, _ in left]
            return spread([(" ", "text"), (f"{printable(alive.words)}  ", "warn"), *past], [], width)
        loads = [(cpu.load, cpu.processor) for cpu in model.snapshot.cpus if cpu.load is not None]
        right: Line = []
        if loads:
            load, processor = max(loads)
            right = [
                ("hottest ", "dim"),
                (f"{processor} ", "text"),
                (f"{percent(load)} ", load_level(load) or "strong"),
            ]
        return spread(left, right, width)

    def _down(self) -> Line:
        """Return a warning about processors without a worker, which comes before any number."""
        down = [cpu.processor for cpu in self._model.snapshot.cpus if cpu.down]
        if not down:
            return []
        return [(f"▲ CPU {down[0]} is down  " if len(down) == 1 else f"▲ {len(down)} CPUs are down  ", "bad")]

    def _totals(self, adapters: Sequence[AdapterView], width: int) -> Line:
        mbits = whole_sum(row.mbits for row in adapters)
        drops, least = (
            whole_sum(row.drops for row in adapters),
            known_sum(row.least_drops for row in adapters),
        )
        errors = whole_sum(row.port_errors for row in adapters)
        lost = whole_sum(row.lost for row in adapters)
        pps = whole_sum(row.pps for row in adapters)
        default = whole_sum(row.default_pps for row in adapters)
        steered = whole_sum(row.steered_rate for row in adapters)
        line: Line = [
            (f" {compact(pps):>5}", "strong"),
            (" pkt/s ", "dim"),
            (f"{decimal(None if mbits is None else mbits / 1000):>6}", "strong"),
            (" Gbit/s ", "dim"),
        ]
        if width >= 100:
            line += [(spark(self._model.series(("mbits",), 24), 24), "trend"), (" ", "text")]
        line += [
            (f"{_at_least(drops, least):>7}", "bad" if least else "strong"),
            (" drop/s ", "dim"),
            (f"{percent(default / steered if default is not None and steered else None):>6}", "strong"),
            (" default queue ", "dim"),
        ]
        if lost:
            line[-2:-2] = [(f"{'▲' + compact(lost):>7}", "bad"), (" lost/s ", "dim")]
        unread = known_sum(row.unread for row in adapters)
        if unread:
            line[-2:-2] = [(f"{'▲' + compact(unread):>7}", "bad"), (" unread/s ", "dim")]
        if errors:
            line += [(f"{compact(errors):>5}", "warn"), (" port err/s ", "dim")]
        return line


LEAST_SIZE = (60, 16)
"""Smallest usable screen: columns, lines."""


class TooSmall(Canvas):
    """Covers a screen smaller than ``LEAST_SIZE``, and shows the required size."""

    DEFAULT_CSS: ClassVar[str] = "TooSmall { layer: over; width: 100%; height: 100%; }"

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__("too-small")
        self._leave = next((first_key(action) for action in actions if action.id == "quit"), "q")

    def paint(self, width: int, height: int) -> list[Line]:
        needs, has = ("×".join(map(str, size)) for size in (LEAST_SIZE, (width, height)))
        words = f"The dashboard needs {needs} cells; this terminal has {has}."
        words += f" Enlarge it, or leave with {self._leave}."
        lines: list[Line] = [[(line, "warn")] for line in wrap(words, max(1, width - 2))]
        return [[(" ", "text"), *line] for line in lines[:height]]


_SHORT = {"processors": "CPUs", "default": "Default"}
"""Short titles of tabs for a narrow screen."""


class Tabs(Canvas):
    """The tabs of the views; the current one is highlighted."""

    DEFAULT_CSS: ClassVar[str] = "Tabs { height: 1; }"

    class Chosen(Message):
        """Posted when a tab is clicked."""

        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__("tabs")
        keys = {action.id: first_key(action) for action in actions}
        self._tabs = [(keys.get(f"view_{view}", ""), view, title) for view, title in VIEWS.items()]
        self.view: str = next(iter(VIEWS))
        self._ends: list[tuple[int, str]] = []

    def paint(self, width: int, height: int) -> list[Line]:
        gap = "  " if width >= 100 else " "
        line: Line = []
        self._ends = []
        for key, view, title in self._tabs:
            here = view == self.view
            line += [
                (f"{gap[1:]} {key}", "!accent" if here else "accent"),
                (f" {title}{gap[1:]} ", "!accent" if here else "title"),
            ]
            self._ends.append((width_of(line), view))
        if width_of(line) > width:
            line, self._ends = [], []
            for key, view, title in self._tabs:
                here = view == self.view
                word = _SHORT.get(view, title)
                line += [
                    (f" {key}", "!accent" if here else "accent"),
                    (f" {word}", "!accent" if here else "title"),
                ]
                self._ends.append((width_of(line), view))
        return [clip(line, width)]

    def on_click(self, event: events.Click) -> None:
        view = next((view for end, view in self._ends if event.x < end), None)
        if view is not None:
            self.post_message(self.Chosen(view))


class KeyBar(Canvas):
    """As many keys of the view and their actions as fit."""

    DEFAULT_CSS: ClassVar[str] = "KeyBar { height: 1; }"

    class Pressed(Message):
        """Posted when a key's name is clicked."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self, actions: Callable[[], Sequence[Action]]) -> None:
        """``actions`` returns those that are offered now."""
        super().__init__("keys")
        self._actions = actions
        self.view: str = next(iter(VIEWS))
        self._ends: list[tuple[int, str]] = []

    def paint(self, width: int, height: int) -> list[Line]:
        here = [action for action in self._actions() if action.bar and action.applies(self.view)]
        must = {"filter_rows", "help", "quit"}
        while here and width_of(self._line(here)) > width:
            losable = [action for action in here if action.id not in must]
            if not losable:
                break
            here.remove(losable[-1])
        return [clip(self._line(here), width)]

    def _line(self, actions: Sequence[Action]) -> Line:
        line: Line = []
        self._ends = []
        for action in actions:
            line += [(f" {first_key(action)}", "accent"), (f" {action.bar} ", "dim")]
            self._ends.append((width_of(line), action.id))
        return line

    def on_click(self, event: events.Click) -> None:
        action = next((action for end, action in self._ends if event.x < end), None)
        if action is not None:
            self.post_message(self.Pressed(action))
