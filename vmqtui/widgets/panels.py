"""Panels: processor loads, the default queue by reason, its chart, the last events, a finding."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from textual.geometry import Size

from engine.advice.finding import Unchecked
from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from engine.view.adapter import AdapterView
from engine.view.rates import ratio, whole_sum
from engine.view.rows import CpuView
from vmqtui.columns import advice as words
from vmqtui.columns.column import load_level
from vmqtui.columns.hosts import EVENT_LEVELS
from vmqtui.draw import Line, bar, cells_of, clip, fit, points_of, stacked, trend
from vmqtui.numbers import clock, compact, grouped, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.rows import EventRow, FindingRow
from vmqtui.state.series import Groups
from vmqtui.state.snapshot import series_of
from vmqtui.widgets.canvas import Canvas

REASON_ROLES = {reason.name: f"reason{number}" for number, reason in enumerate(DEFAULT_QUEUE_REASONS, 1)}
_HEAT = "▁▂▃▄▅▆▇█"


class ModelCanvas(Canvas):
    """Base of canvases that read the model."""

    def __init__(self, model: Model, widget_id: str | None = None) -> None:
        super().__init__(widget_id)
        self.model = model

    def adapters(self) -> list[AdapterView]:
        """Return the chosen adapter, or all of them."""
        chosen = self.model.choices.adapter
        return [row for row in self.model.snapshot.adapters if chosen in (None, row.adapter)]


class CpuPanel(ModelCanvas):
    """The load of every processor: a labelled bar each if they fit, else a short bar or a cell.

    With automatic height, it has one line per processor, up to 18.
    """

    _count = 0

    def fit_height(self) -> None:
        """Lay out again if the number of processors changed."""
        count = len(self.model.snapshot.cpus)
        if count != self._count:
            self._count = count
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, min(18, self._count))

    def paint(self, width: int, height: int) -> list[Line]:
        cpus = self.model.snapshot.cpus
        if not cpus:
            return [[(" no processors yet", "dim")]]
        for cell in (40, 26, 19):
            columns = max(1, width // cell)
            rows = -(-len(cpus) // columns)
            if rows <= height:
                columns = min(columns, -(-len(cpus) // rows))
                each = width // columns
                return [
                    [
                        span
                        for column in range(columns)
                        if (index := column * rows + row) < len(cpus)
                        for span in self._bar(cpus[index], each)
                    ]
                    for row in range(rows)
                ]
        return self._cells(cpus, width, height)

    def _bar(self, cpu: CpuView, width: int) -> Line:
        load = cpu.load
        level = load_level(load)
        count = cpu.number_of_queues
        queues = f"{'–' if count is None else count}q" if width >= 24 else ""
        wide = 10 if width >= 46 else 0
        room = width - 6 - 7 - (5 if queues else 0) - (wide + 1 if wide else 0) - 1
        line: Line = [(f" {cpu.processor:>5} ", "dim" if not cpu.queues else "text")]
        if cpu.down:
            line += [(fit("its frames are lost", room - 1), "bad"), (f"{'▲down':>7}", "bad")]
        else:
            known: Line = [(fit("–", room - 1), "dim")]
            line += bar([(load, level or "bar")], room - 1) if load is not None else known
            line.append((f"{percent(load):>7}", level or ("text" if load else "dim")))
        if wide:
            loads = self.model.series(("cpu", cpu.cpu), points_of(wide))
            line.append((" " + trend(loads, wide, "share"), "trend"))
        if queues:
            line.append((f"{queues:>4} ", "dim"))
        return line

    def _cells(self, cpus: tuple[CpuView, ...], width: int, height: int) -> list[Line]:
        """Return lines with a short bar or a cell for each of many processors, labelled by their first one.

        If cells run out, each stands for two, four, … neighbours: down if any is, else the highest load.
        """
        room = max(8, width - 8)
        group = 1
        while -(-len(cpus) // group) > height * room:
            group *= 2
        groups = [cpus[start : start + group] for start in range(0, len(cpus), group)]
        loads = [max((cpu.load for cpu in some if cpu.load is not None), default=None) for some in groups]
        down = [any(cpu.down for cpu in some) for some in groups]
        each = next((count for count in range(8, room, 8) if -(-len(loads) // count) <= height), room)
        cell = room // each
        lines: list[Line] = []
        for start in range(0, len(loads), each):
            line: Line = [(f" {cpus[start * group].processor:>5} ", "dim")]
            for load, gone in zip(loads[start : start + each], down[start : start + each], strict=True):
                role = load_level(load) or "bar"
                if gone:
                    line.append((fit("▲down", cell - 1) + " " if cell > 1 else "▲", "bad"))
                elif cell >= 4 and load is not None:
                    line += [*bar([(load, role)], cell - 1), (" ", "text")]
                else:
                    glyph = "·" if load is None else _HEAT[min(7, int(load * 8))]
                    line.append((glyph * max(1, cell - 1) + (" " if cell > 1 else ""), role))
            lines.append(line)
        return lines


@dataclass(frozen=True)
class _Reason:
    name: str
    role: str
    total: int | None
    rate: float | None
    share: float | None


class ReasonPanel(ModelCanvas):
    """The default queue's frames by reason: rate, share and trend."""

    def reasons(self) -> list[_Reason]:
        """Return each reason, summed over the shown adapters."""
        adapters = self.adapters()
        total = whole_sum(adapter.reason(one.name) for adapter in adapters for one in DEFAULT_QUEUE_REASONS)
        rows: list[_Reason] = []
        for one in DEFAULT_QUEUE_REASONS:
            rate = whole_sum(adapter.reason(one.name) for adapter in adapters)
            counted = whole_sum(adapter.reasons.count(one.name, 0) for adapter in adapters)
            rows.append(
                _Reason(
                    one.name,
                    REASON_ROLES[one.name],
                    None if counted is None else int(counted),
                    rate,
                    ratio(rate, total),
                )
            )
        return rows

    @property
    def nothing_known(self) -> str:
        """Why a measured host knows nothing of the reasons, in a sentence; "" if it knows some."""
        snapshot = self.model.snapshot
        adapters = self.adapters()
        if not snapshot.measured or not adapters:
            return ""
        counts = (row.reasons.count(one.name, 0) for row in adapters for one in DEFAULT_QUEUE_REASONS)
        if any(count is not None for count in counts):
            return ""
        if snapshot.is_linux:
            return "not known: the adapter has no counter; --capture-default reads it"
        return "not known: the host has no counter of it"

    def series(self, reason: str, count: int) -> list[float | None]:
        """Return up to ``count`` past rates of a reason, summed over the shown adapters."""
        parts = [self.model.series(("reason", row.adapter, reason), count) for row in self.adapters()]
        return _summed(parts)

    def paint(self, width: int, height: int) -> list[Line]:
        adapters = self.adapters()
        lines: list[Line] = []
        why = self.nothing_known
        lines += [[(f" {line}", "dim")] for line in wrap(why, max(10, width - 2))]
        reasons = [] if why else self.reasons()
        totals = 13 if width >= 60 else 0
        gauge = min(20, (width - 36) // 4) if width > 70 else 0
        wide = max(6, min(60, width - 36 - totals - (gauge + 1 if gauge else 0)))
        for one in reasons:
            line: Line = [
                (" ● ", one.role),
                (fit(one.name.replace("_", " "), 15), "text" if one.rate else "dim"),
                (f"{compact(one.rate):>6}", "text" if one.rate else "dim"),
                (f"{percent(one.share):>7} ", "dim"),
            ]
            if gauge:
                line += [*bar([(one.share or 0.0, one.role)], gauge), (" ", "text")]
            line.append((trend(self.series(one.name, points_of(wide)), wide), one.role))
            if totals:
                line.append((f"{grouped(one.total):>13}", "dim"))
            lines.append(clip(line, width))
        if height > len(lines):
            default = whole_sum(row.default_pps for row in adapters)
            share = ratio(default, whole_sum(row.steered_rate for row in adapters))
            total: Line = [
                (" = ", "dim"),
                (fit("pkt/s in all", 15), "dim"),
                (f"{compact(default):>6}", "strong"),
            ]
            if share is not None or not why:
                total += [(f"{percent(share):>7}", "strong"), (" of all steered", "dim")]
            lines.append(clip(total, width))
        return lines[:height]


def _summed(parts: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Sum series moment by moment, from the right as far as the shortest one goes."""
    shortest = min((len(part) for part in parts), default=0)
    cut = [list(part)[len(part) - shortest :] for part in parts]
    return [whole_sum(values) for values in zip(*cut, strict=True)]


class ReasonChart(ReasonPanel):
    """The default queue over time, stacked by reason; as a whole, if no reason is known."""

    def paint(self, width: int, height: int) -> list[Line]:
        axis = 7
        room = width - axis - 1
        if room < 8 or height < 3:
            return []
        adapters = self.adapters()
        if self.nothing_known:
            queues = (row.default for row in adapters)
            keys = (series_of(one) for one in queues if one is not None)
            groups: Groups = (tuple(keys),)
            roles = ["bar"]
        else:
            groups = tuple(tuple(("reason", row.adapter, name) for row in adapters) for name in REASON_ROLES)
            roles = list(REASON_ROLES.values())
        series = zip(self.model.peaks(groups, room), roles, strict=True)
        body, top = stacked(list(series), room, height - 1)
        lines: list[Line] = []
        for index, line in enumerate(body):
            label = top if index == 0 else top / 2 if index == len(body) // 2 and len(body) > 4 else None
            lines.append([(f"{compact(label) if label else '':>6} ", "dim"), *line])
        lines.append([(" " * axis + time_axis(self.model.span_s, room, self.model.moment), "dim")])
        return lines


def time_axis(span_s: int, width: int, end: str = "now") -> str:
    """The text below a chart: its span, and how many seconds a cell is, of which the highest is drawn.

    ``end`` is what the moment at its right is called; if not "now", its span says "before", not "ago".
    """
    minutes = f"{span_s // 60} min {'ago' if end == 'now' else 'before'}"
    each = f"a cell: the most of {span_s / width:.0f} s" if span_s >= 1.5 * width else ""
    room = width - len(minutes) - len(end)
    return minutes + (each if room >= len(each) + 4 else "").center(max(1, room)) + end


class EventTail(ModelCanvas):
    """The last events, newest first."""

    def paint(self, width: int, height: int) -> list[Line]:
        rows = self.model.snapshot.events_of(self.model.choices.adapter)[:height]
        if not rows:
            return [[(" no events", "dim")]]
        several = len(self.adapters()) > 1
        what = [printable(row.event.event).replace("_", " ") for row in rows]
        whom = [_whom(row, several) for row in rows]
        wide, named = max(map(cells_of, what)), max(map(cells_of, whom))
        return [
            clip(
                [
                    (f" {clock(row.event.sim_time_ns):>8} ", "dim"),
                    (fit(event, wide), EVENT_LEVELS.get(row.event.event, "") or "text"),
                    (f" {fit(name, named)} ", "title"),
                    (printable(row.event.cause), "dim"),
                ],
                width,
            )
            for row, event, name in zip(rows, what, whom, strict=True)
        ]


def _whom(row: EventRow, several: bool) -> str:
    """Return the queue of an event, and its adapter if several are shown."""
    event = row.event
    adapter = printable(event.adapter or "")
    if event.queue_id is None:
        return printable(row.queue or "") or adapter
    whose = printable(row.queue) if row.queue is not None else f"queue {event.queue_id}"
    return f"{whose} {adapter}" if several else whose


def finding_lines(row: FindingRow, system: str, width: int) -> list[Line]:
    """Return all fields of a finding, as lines of up to ``width`` cells. ``system`` is its host's operating
    system, "" of a model."""
    finding = row.finding
    lines: list[Line] = [
        [(f"{words.GLYPHS[finding.severity]} ", words.level(row)), (one, "strong")]
        if place == 0
        else [("  ", "text"), (one, "strong")]
        for place, one in enumerate(wrap(printable(finding.says), max(10, width - 2)))
    ]
    for label, texts, role in (
        ("fixed", [words.fixed(row)] if words.fixed(row) else [], "good"),
        ("seen", [words.seen(row)], "dim" if row.is_past else "text"),
        ("shows", [words.numbers(finding)], "text"),
        ("cause", [printable(finding.cause)], "dim"),
        ("fix", [printable(finding.fix)], "good"),
        ("", words.commands(finding.requests), "accent"),
        (words.shell(system), [printable(one) for one in finding.commands], "accent"),
        ("effect", [words.effect(finding)], "text"),
    ):
        for text in texts:
            for part in wrap(text, max(10, width - 10), break_on_hyphens=False):
                lines.append([(f"  {label:<8}", "title"), (part, role)])
                label = ""
    return lines


def unchecked_lines(gaps: Sequence[Unchecked], width: int) -> list[Line]:
    """Return the rules that could not look, and why, as lines of up to ``width`` cells; none without any."""
    lines: list[Line] = [[("  could not look", "title")]] if gaps else []
    for one in gaps:
        parts = wrap(words.gap(one), max(10, width - 4), break_on_hyphens=False)
        lines += [
            [("    " if place == 0 else "      ", "text"), (part, "dim")] for place, part in enumerate(parts)
        ]
    return lines


class FindingPanel(ModelCanvas):
    """The finding under the cursor, and the rules that could not look."""

    def __init__(self, model: Model, widget_id: str) -> None:
        super().__init__(model, widget_id)
        self.row: FindingRow | None = None
        self.is_gone = False
        """Whether the finding under the cursor disappeared while others are listed."""

    def paint(self, width: int, height: int) -> list[Line]:
        snapshot, lines = self.model.snapshot, list[Line]()
        if self.row is not None:
            lines = finding_lines(self.row, snapshot.system, width - 1)
        elif self.is_gone:
            lines = [[("  the finding that the cursor was on is gone; ↑ ↓ choose another", "dim")]]
        lines += unchecked_lines(snapshot.advised.unchecked, width - 1)
        if len(lines) > height and height > 1:
            lines = [*lines[: height - 1], [("  … ⏎ shows all of it", "dim")]]
        return [[(" ", "text"), *line] for line in lines]
