"""The header, the tabs, the key bar, and the notice on a screen that is too small."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
from vmqtui.draw import Line, TrendScale, clip, points_of, spread, trend, width_of
from vmqtui.numbers import clock, compact, decimal, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.widgets.canvas import Canvas

_STATE = {
    "connecting": ("◌", "dim"),
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


def link_and_driver(settings: AdapterConfig) -> str:
    """Return an adapter's link and driver in words, as far as they are known."""
    if settings.link_up is False:
        link = "link down"
    elif settings.link_gbps is not None:
        link = f"{settings.link_gbps:g} Gbit/s"
    else:
        link = "link up, speed –" if settings.link_up else "link –"
    ndis = settings.ndis_version
    driver = settings.nic_driver or (None if ndis is None else f"NDIS {ndis}")
    return " · ".join(filter(None, (link, printable(driver or ""))))


def _at_least(
    adapters: Iterable[AdapterView],
    whole: Callable[[AdapterView], float | None],
    least: Callable[[AdapterView], float | None],
) -> tuple[str, float | None]:
    """Return a sum over adapters, and ≥ before it if only part of it is known: ``least`` is the part that an
    adapter knows. None if nothing is known, or nothing but zeros of a part."""
    known: list[float] = []
    partly = False
    for adapter in adapters:
        value = whole(adapter)
        if value is None:
            partly = True
            value = least(adapter)
        if value is not None:
            known.append(value)
    total = sum(known) if known else None
    return ("≥", total) if partly and total else ("", None if partly else total)


def _in_teams(rows: Sequence[AdapterView]) -> str:
    """Return the numbers of adapters by team, in words."""
    teams = Counter(row.team_words for row in rows if row.team)
    words = [f"{printable(team)}: {counted(count, 'adapter')}" for team, count in teams.items()]
    alone = len(rows) - teams.total()
    if alone or not words:
        words.append(counted(alone, f"{'other ' * bool(words)}adapter"))
    return " · ".join(words)


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
        if snapshot.config is not None and snapshot.config.system and width >= 100:
            left.append((f"  {printable(snapshot.config.system)}", "dim"))
        shown = [row for row in snapshot.adapters if model.choices.adapter in (None, row.adapter)]
        if model.choices.adapter is None and len(shown) > 1:
            left.append((f"  {_in_teams(shown)}", "title"))
        for row in shown if len(shown) == 1 else ():
            left.append((f"  {printable(row.adapter)}", "title"))
            if row.team:
                left.append((f" in {printable(row.team_words)}", "title"))
            if row.config is not None:
                left.append((f"  {link_and_driver(row.config)}", "dim"))
        if snapshot.config is not None and width >= 110 and not snapshot.measured:
            left.append((f"  {printable(snapshot.config.traffic)}", "dim"))
        right: Line = []
        if model.link.read_only and not snapshot.measured:
            right.append(("read-only  ", "dim"))
        right += self._down()
        if width >= 100 and model.missed:
            right.append((f"{counted(model.missed, 'reading')} missed  ", "dim"))
        stats = snapshot.stats
        if stats is not None:
            if not snapshot.measured:
                right += lateness(stats.behind_ns, stats.real_time_ratio, width)
            measured: Line = [("measured", "accent"), (" for ", "dim")]
            right += [
                *(measured if snapshot.measured else [("sim ", "dim")]),
                (clock(stats.sim_time_ns), "text"),
                ("  ", "text"),
            ]
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
            right = [(f"{processor} ", "text"), (f"{percent(load)} ", load_level(load) or "strong")]
            room = width - width_of(left) - width_of(right) - 1
            right.insert(0, (next((word for word in ("hottest ", "hot ") if len(word) <= room), ""), "dim"))
        return spread(left, right, width)

    def _down(self) -> Line:
        """Return a warning about processors without a worker, which comes before any number."""
        down = [cpu.processor for cpu in self._model.snapshot.cpus if cpu.down]
        if not down:
            return []
        return [(f"▲ CPU {down[0]} is down  " if len(down) == 1 else f"▲ {len(down)} CPUs are down  ", "bad")]

    def _totals(self, adapters: Sequence[AdapterView], width: int) -> Line:
        part_of_mbits, mbits = _at_least(
            adapters, lambda row: row.mbits, lambda row: known_sum(one.mbits for one in row.queues)
        )
        part_of_drops, drops = _at_least(adapters, lambda row: row.drops, lambda row: row.least_drops)
        part_of_pps, pps = _at_least(
            adapters, lambda row: row.pps, lambda row: known_sum(one.pps for one in row.queues)
        )
        errors = known_sum(row.port_errors for row in adapters)
        lost = known_sum(row.lost for row in adapters)
        default = whole_sum(row.default_pps for row in adapters)
        steered = whole_sum(row.steered_rate for row in adapters)
        gbits = decimal(None if mbits is None else mbits / 1000)
        line: Line = [
            (f" {part_of_pps + compact(pps):>5}", "strong"),
            (" pkt/s ", "dim"),
            (f"{part_of_mbits + gbits:>6}", "strong"),
            (" Gbit/s ", "dim"),
        ]
        if width >= 100:
            known = "mbits" if mbits is not None or pps is None else "pps"
            series = self._model.series((known,), points_of(24))
            scale: TrendScale = "amount" if known == "mbits" else "count"
            line += [(trend(series, 24, scale), "trend"), (" ", "text")]
        line += [
            (f"{('▲' if drops else '') + part_of_drops + compact(drops):>7}", "bad" if drops else "strong"),
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

    def __init__(
        self, model: Model, actions: Callable[[], Sequence[Action]], marked: Callable[[], int]
    ) -> None:
        """``actions`` returns those that are offered now, ``marked`` the number of marked rows."""
        super().__init__("keys")
        self._model = model
        self._actions = actions
        self._marked = marked
        self.view: str = next(iter(VIEWS))
        self._ends: list[tuple[int, str]] = []

    def paint(self, width: int, height: int) -> list[Line]:
        here = [
            action
            for action in self._actions()
            if action.bar and action.applies(self.view) and action.columns <= width
        ]
        must = {"search_rows", "help", "quit"}
        while here and width_of(self._line(here)) > width:
            losable = [action for action in here if action.id not in must]
            if not losable:
                break
            here.remove(losable[-1])
        return [clip(self._line(here), width)]

    def _line(self, actions: Sequence[Action]) -> Line:
        line: Line = []
        self._ends = []
        if marked := self._marked():
            line = [(f" ◆ {marked:,} marked ", "!accent")]
            self._ends.append((width_of(line), "back"))
        where = self._model.past
        for action in actions:
            words = where.on_space if action.id == "pause" and where is not None else action.bar
            line += [(f" {first_key(action)}", "accent"), (f" {words} ", "dim")]
            self._ends.append((width_of(line), action.id))
        return line

    def on_click(self, event: events.Click) -> None:
        action = next((action for end, action in self._ends if event.x < end), None)
        if action is not None:
            self.post_message(self.Pressed(action))
