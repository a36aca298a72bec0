"""A matrix of processors and queues that marks the processor of each queue, and the effect of a move."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import accumulate, takewhile
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType

from engine.counted import counted
from engine.view.rows import CpuView, QueueView
from vmqtui.actions import MATRIX
from vmqtui.columns.column import load_level
from vmqtui.draw import Line, bar, cells_of, clip, fit, join, width_of
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.placement import Forecast, Move, Side, loads_of
from vmqtui.widgets.panels import ModelCanvas
from vmqtui.widgets.table import LiveTable

_HEAT = "▁▂▃▄▅▆▇█"
_SERVED = "■"
"""The glyph of a queue on its processor, if its part of the load is unknown."""
_MARK = 3
"""Most cells of an adapter's mark in the heading of a column."""
_NAMED = 8
"""Fewest cells of a column whose heading is the queue's name, not its id."""
_MOST_NAME = 256
_MOST_BAR = 5
_LEAST_ROOM, _MOST_ROOM = 34, 66
"""Fewest and most cells of the table of processors."""


def _marks(adapters: Iterable[str]) -> dict[str, str]:
    """Return a mark for each adapter: its name without the common prefix; "" for a single adapter."""
    names = sorted(set(adapters))
    if len(names) < 2:
        return dict.fromkeys(names, "")
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = len(list(same))
    if any(len(name) == common for name in names):
        common = 0
    return {name: printable(name[common:]) for name in names}


def _across(row: QueueView) -> tuple[bool, int, str, int]:
    """Sort key of columns: by processor, then adapter and id; queues without a known processor last."""
    return row.cpu is None, row.cpu or 0, row.adapter, row.queue_id


class MatrixTable(LiveTable):
    """One row per processor and one column per queue, sorted by the processor that serves it.

    The cursor selects a queue's column and a processor's row. If that processor does not serve the queue, the
    cell proposes a move. A mark shows the home of a queue that the balancer has moved away. A dot stands
    where a processor is in the set of the queue's adapter, △ where the queue is outside it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.key, action.does, action.title, show=False) for action in MATRIX
    ]

    def __init__(self, widget_id: str) -> None:
        super().__init__(
            "cpus",
            widget_id=widget_id,
            without=("cpu", "trend", "queue_names", "pps"),
            empty="no processors yet",
        )
        self.proposes = True
        """Whether the cursor proposes moves: not on a measured host, of which their effects are unknown."""
        self._queues: list[QueueView] = []
        self._column = 0
        self._queue_pinned: Hashable = None
        self._begun = False
        """Whether the cursor is where to look first, or was moved."""
        self._first = 0
        self._names: list[int] = []
        self._columns: tuple[list[int], bool] = [], False
        self._columns_for = -1
        self._marks: dict[str, str] = {}
        self._homes: dict[int, list[int]] = {}
        self._left: dict[int, list[int]] = {}
        self._model: dict[str, Any] = {}
        self._sets: Mapping[str, frozenset[int] | None] = {}

    @property
    def queue(self) -> QueueView | None:
        """The queue of the cursor's column."""
        return self._queues[self._column] if self._column < len(self._queues) else None

    @property
    def target(self) -> int | None:
        """The processor of the cursor's row; None if it serves the queue already, or no move is proposed."""
        row, queue = self.row, self.queue
        if not self.proposes or not isinstance(row, CpuView) or queue is None or row.cpu == queue.cpu:
            return None
        return row.cpu

    def set_queues(
        self,
        queues: Sequence[QueueView],
        model: dict[str, Any],
        sets: Mapping[str, frozenset[int] | None],
    ) -> None:
        """Set the queues of the columns; call before ``show``.

        ``model`` is the host's CPU model, ``sets`` has the processors of each adapter's set, None if unknown.
        """
        self._model, self._sets = model, sets
        self._queues = sorted(queues, key=_across)
        self._marks = _marks(row.adapter for row in queues)
        self._names = [max(_NAMED, cells_of(self._name_of(row, _MOST_NAME)) + 1) for row in self._queues]
        self._columns_for = -1
        at = next((n for n, row in enumerate(self._queues) if row.identity == self._queue_pinned), None)
        self._column = min(self._column, max(0, len(self._queues) - 1)) if at is None else at
        if self.queue is not None:
            self._queue_pinned = self.queue.identity
        homes: defaultdict[int, list[int]] = defaultdict(list)
        for n, row in enumerate(self._queues):
            if row.cpu is not None:
                homes[row.cpu].append(n)
        self._homes = dict(homes)
        left: defaultdict[int, list[int]] = defaultdict(list)
        for n, row in enumerate(self._queues):
            if row.home_cpu not in (None, row.cpu):
                left[row.home_cpu].append(n)
        self._left = dict(left)

    def begin(self) -> None:
        """Put the cursor where to look first, once loads are known: on the queue with the largest part of the
        hottest processor. Until then it is on the first queue. It stays where the user has moved it."""
        if self._begun or not self._queues:
            return
        places = {row.identity: n for n, row in enumerate(self._queues)}
        known = [row for row in self.rows if isinstance(row, CpuView) and row.load is not None]
        hottest = max((row for row in known if row.queues), key=lambda row: row.load or 0.0, default=None)
        if hottest is not None:
            parts = loads_of(hottest, self._model)
            busiest = max(hottest.queues, key=lambda one: (parts[one.identity] or 0.0, one.known_pps))
            if busiest.identity in places:
                self._begun = True
                self._column, self._queue_pinned = places[busiest.identity], busiest.identity
        if self.size:
            self.go_home()
        else:
            self.call_after_refresh(self.go_home)

    def action_cursor(self, step: int) -> None:
        self._begun = True
        super().action_cursor(step)

    def action_page(self, step: int) -> None:
        self._begun = True
        super().action_page(step)

    def find(self, identity: Hashable) -> bool:
        self._begun = True
        return super().find(identity)

    def go_home(self) -> None:
        """Put the cursor on the processor that serves the queue, so that it proposes no move."""
        cpu = self.queue.cpu if self.queue is not None else None
        rows = enumerate(self.rows)
        at = next((n for n, row in rows if isinstance(row, CpuView) and row.cpu == cpu), None)
        if at is not None:
            self.move_to(at)
        self._redraw()

    def action_queue(self, step: int) -> None:
        """Move the cursor by ``step`` queues, to the processor that serves the new one."""
        self._choose(max(0, min(self._column + step, len(self._queues) - 1)))

    def _choose(self, column: int) -> None:
        self._begun = True
        self._column = column
        if self.queue is not None:
            self._queue_pinned = self.queue.identity
            self.go_home()
            self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        self._begun = True
        at = event.get_content_offset(self)
        edge = 1 + self._room + 3
        if at is not None and at.x >= edge:
            ends = accumulate(self._across()[0][self._first :])
            column = next((n for n, end in enumerate(ends, self._first) if at.x - edge < end), None)
            if column is not None:
                self._choose(column)
        super().on_click(event)

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width - 2

    @property
    def _room(self) -> int:
        """Cells for the table of processors: the rest beside the queues' names if all fit, else half."""
        left = self._width - 3 - sum(self._names)
        return max(_LEAST_ROOM, min(_MOST_ROOM, left if left >= _LEAST_ROOM else self._width // 2))

    def _across(self) -> tuple[list[int], bool]:
        """Return the width of each queue's column with the blank after it, and whether names fit.

        If names fit, the widest ones are cut first, so that no short name wastes cells.
        """
        room = self._width - self._room - 3
        if self._columns_for != room:
            self._columns_for = room
            count = len(self._queues)
            if named := 0 < count * _NAMED <= room:
                widths = list(self._names)
                for _ in range(sum(widths) - room):
                    widths[max(range(count), key=widths.__getitem__)] -= 1
            else:
                ids = max((len(self._id_of(row)) for row in self._queues), default=1)
                widths = [max(3, ids + 1, min(_NAMED - 1, room // max(1, count)))] * count
            self._columns = widths, named
        return self._columns

    def _seen(self) -> range:
        """Return the indexes of the visible columns; scroll if the cursor's is not among them."""
        if not self.size:
            return range(0)
        widths, named = self._across()
        fits = len(widths) if named or not widths else max(1, (self._width - self._room - 3) // widths[0])
        if self._column < self._first or self._column >= self._first + fits:
            self._first = max(0, self._column - fits // 2)
        self._first = max(0, min(self._first, len(self._queues) - fits))
        return range(self._first, min(len(self._queues), self._first + fits))

    @property
    def seen_words(self) -> str:
        """The range of visible queues, in words; "" if all are visible."""
        seen = self._seen()
        if len(seen) in (0, len(self._queues)):
            return ""
        return f"queues {seen.start + 1:,} to {seen.stop:,} of {len(self._queues):,} across"

    def _heading(self) -> Line:
        line = super()._heading()
        line.append((" │ ", "border"))
        widths, named = self._across()
        for n in self._seen():
            row, cell = self._queues[n], widths[n]
            name = self._name_of(row, cell - 1) if named else self._id_of(row)
            line.append((fit(name, cell - 1), "accent" if n == self._column else "header"))
            line.append((" ", "text"))
        return line

    def _id_of(self, row: QueueView) -> str:
        """Return a queue's id, after the mark of its adapter if there are several adapters."""
        mark = self._marks.get(row.adapter)
        return f"{mark[-_MARK:]}·{row.queue_id}" if mark else str(row.queue_id)

    def _name_of(self, row: QueueView, width: int) -> str:
        """Return a queue's name, before the mark of its adapter if there are several adapters."""
        mark, label = self._marks.get(row.adapter, "")[-_MARK:], printable(row.label)
        room = width - len(mark) - bool(mark)
        return f"{fit(label, min(room, cells_of(label)))}·{mark}" if mark else label

    def _cells(self, row: Any) -> Line:
        line = super()._cells(row)
        line.append((" │ ", "border"))
        widths = self._across()[0]
        seen = self._seen()
        lit = [n for n in self._homes.get(row.cpu, ()) if n in seen]
        here = self.row is row
        left = [n for n in self._left.get(row.cpu, ()) if n in seen]
        marks = sorted({*lit, *left, self._column} if here and self._column in seen else {*lit, *left})
        loads = loads_of(row, self._model) if lit else {}
        at = seen.start
        for n in marks:
            line.append((self._blanks(row.cpu, at, n), "faint"))
            cell = widths[n]
            load = loads.get(self._queues[n].identity)
            cursor = here and n == self._column
            if n in left and not cursor:
                line += [(fit("⌂", cell - 1), "dim"), (" ", "text")]
            else:
                line += self._mark(n, row.cpu, load, cell, cursor, n in lit)
            at = n + 1
        line.append((self._blanks(row.cpu, at, seen.stop), "faint"))
        return join(line)

    def _blanks(self, cpu: int, start: int, stop: int) -> str:
        """Return the cells of queues that a processor does not serve: a dot if it is in their set."""
        widths = self._across()[0]
        return "".join(
            ("·" if self._in_set(self._queues[n], cpu) else " ") + " " * (widths[n] - 1)
            for n in range(start, stop)
        )

    def _in_set(self, queue: QueueView, cpu: int) -> bool:
        """Whether a processor is in the set of a queue's adapter; True for queue 0 and for an unknown set."""
        known = self._sets.get(queue.adapter) if queue.queue_id else None
        return known is None or cpu in known

    def _mark(self, n: int, cpu: int, load: float | None, cell: int, cursor: bool, home: bool) -> Line:
        """Return the cell of a queue: its part of the load if this processor serves it, else a proposal."""
        queue = self._queues[n]
        if not home:
            return [(fit("◇" if self.proposes else "·", cell - 1), "!accent"), (" ", "text")]
        glyph = _SERVED if load is None else _HEAT[min(7, int(load * 8))]
        outside = not self._in_set(queue, cpu)
        role = "bad" if queue.drops else "warn" if outside else load_level(load) or ("bar" if load else "dim")
        bar = glyph * min(_MOST_BAR, cell - 7)
        part = percent(load) if load is not None else compact(queue.pps)
        text = fit(f"{bar}{part:>6}", cell - 1) if self._across()[1] else glyph * (cell - 1)
        if queue.drops:
            text = "▲" + text[1:]
        elif outside:
            text = "△" + text[1:]
        return [(text, f"!{role}" if cursor else role), (" ", "text")]


class _Rank(IntEnum):
    """Lines of the panel of a move in the order in which they stay when its height is too small for all."""

    processor = 0
    words = 1
    heading = 2
    hint = 3


class MovePanel(ModelCanvas):
    """The queue under the cursor, with the forecast of the proposed move, else the effect of the last one."""

    def __init__(self, model: Model, widget_id: str) -> None:
        super().__init__(model, widget_id)
        self.queue: QueueView | None = None
        self.load: float | None = None
        self.proposal: Forecast | None = None
        self.last: Move | None = None
        self.apart: Sequence[QueueView] = ()
        """Queues with no known processor, which have no column."""

    def paint(self, width: int, height: int) -> list[Line]:
        lines = self._of_queue(width, height) if self.queue is not None else []
        if self.apart and len(lines) < height:
            words = ", ".join(printable(one.label) for one in self.apart)
            lines.append([(" no known processor: ", "title"), (words, "text")])
        return [clip(line, width) for line in lines] or [[(" no queue yet", "dim")]]

    def _of_queue(self, width: int, height: int) -> list[Line]:
        assert self.queue is not None
        who, *more = self._who(self.queue, width)
        ranked: list[tuple[_Rank, Line]] = [(_Rank.words, who)]
        if self.proposal is None and (of_set := self._set_of(self.queue)):
            ranked.append((_Rank.heading, of_set))
        if self.proposal is not None:
            ranked += self._sides(self.proposal.source, self.proposal.target, "about", width)
            ranked += [(_Rank.words, [(f" △ {words}", "warn")]) for words in self.proposal.warnings]
            if self.screen.check_action("move_queue", ()):
                hint = [(" m", "accent"), (" moves it, ", "dim"), ("← →", "accent"), (" leave it", "dim")]
                ranked.append((_Rank.hint, hint))
        elif self.last is not None:
            ranked += self._done(self.last, width)
        elif self.screen.check_action("move_queue", ()):
            hint = [
                (" ← →", "accent"),
                (" another queue  ", "dim"),
                ("↑ ↓", "accent"),
                (" a processor for it, ", "dim"),
                ("m", "accent"),
                (" moves it there", "dim"),
            ]
            ranked.append((_Rank.hint, hint))
        while len(ranked) > height:
            least = max(range(len(ranked)), key=lambda n: (ranked[n][0], n))
            del ranked[least]
        lines = [line for _, line in ranked]
        if len(lines) + len(more) <= height:
            lines[1:1] = more
        return lines

    def _who(self, queue: QueueView, width: int) -> list[Line]:
        """Return who the queue is and its rates, in lines that fit; a long name is cut for the first rate."""
        several = len(self.model.snapshot.adapter_names) > 1
        of = f" of {printable(queue.adapter)}" if several else ""
        rest: Line = [
            (f"  queue {queue.queue_id}{of} on {queue.processor}", "title"),
            (f"  {compact(queue.pps)} pkt/s", "text"),
        ]
        name = f" {printable(queue.label)}"
        room = max(_NAMED, width - width_of(rest))
        lines: list[Line] = [[(fit(name, min(room, cells_of(name))), "strong"), *rest]]
        rates: Line = [
            *([(f"  ≈{percent(self.load)} of a processor", "text")] if self.load is not None else []),
            (f"  {compact(queue.rate('interrupts'))} intr/s", "dim"),
        ]
        if not self.model.snapshot.measured:
            rates += [
                (f"  {compact(queue.rate('dpcs'))} DPC/s", "dim"),
                (f"  backlog {compact(queue.count('pending'))}", "dim"),
            ]
        for one in rates:
            if width_of([*lines[-1], one]) > width:
                lines.append([])
            lines[-1].append(one)
        return lines

    def _set_of(self, queue: QueueView) -> Line:
        """Return a line on the set of the queue's adapter; empty if nothing is known of one."""
        index = self.model.snapshot.index.adapters.get(queue.adapter)
        words = index.set_words if index is not None and queue.queue_id else None
        if index is None or words is None:
            return []
        if queue.cpu in (index.processor_set or ()):
            return [(f" its adapter's set: {words}", "dim")]
        return [(f" △ outside its adapter's set: {words}", "warn")]

    def _sides(self, source: Side, target: Side, after: str, width: int) -> list[tuple[_Rank, Line]]:
        room = max(4, min(24, (width - 44) // 2))
        head: Line = [(f"{'':7}{fit('before', room + 8)}   {after}", "header")]
        return [
            (_Rank.heading, head),
            *((_Rank.processor, self._side(side, room)) for side in (source, target)),
        ]

    def _side(self, side: Side, room: int) -> Line:
        line: Line = [(f" {side.processor:>5} ", "text")]
        for n, load in enumerate((side.before, side.after)):
            if n:
                line.append((" → ", "accent"))
            level = load_level(load)
            parts = [(load, level or "bar")] if load is not None else []
            line += [*bar(parts, room), (f"{percent(load):>7} ", level or "text")]
        return [*line, (f" {side.queues_before} → {counted(side.queues_after, 'queue')}", "dim")]

    def _done(self, move: Move, width: int) -> list[tuple[_Rank, Line]]:
        words: Line = [
            (f" ✓ {printable(move.label)} moved", "good"),
            (f" {move.source.processor} → {move.target.processor}", "strong"),
        ]
        if not move.measured:
            words.append(("  measuring what came of it …", "dim"))
        return [(_Rank.words, words), *self._sides(move.source, move.target, "now", width)]
