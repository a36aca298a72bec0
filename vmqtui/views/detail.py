"""What is known of one row: the panels of a queue, and the detail pane beside the tables of a wide screen."""

from collections.abc import Collection
from textwrap import wrap
from typing import Final

from textual import events
from textual.containers import Container
from textual.geometry import Size
from textual.widget import Widget

from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from engine.view.pairs import NearMissView, PairView
from engine.view.rows import CpuView, FilterView, PortView, QueueView
from vmqtui.columns import COLUMNS
from vmqtui.columns.column import vlan_text
from vmqtui.columns.sources import MARKS, sources_of
from vmqtui.draw import Line, cells_of, fit
from vmqtui.state.jump import target_of
from vmqtui.state.model import Model
from vmqtui.state.rows import EventRow, FindingRow, Row
from vmqtui.views.view import View, set_title, titled
from vmqtui.widgets.panels import ModelCanvas
from vmqtui.widgets.queue_panels import QueueFacts, QueueMemory, QueueRates
from vmqtui.widgets.table import LiveTable

_SAID_BEFORE: Final = frozenset({"adapter", "queue_id", "queue"})
_OF_QUEUE: Final = frozenset({"adapter", "queue_id", "vm"})
_REASONS: Final = {reason.name: reason.help for reason in DEFAULT_QUEUE_REASONS}
_NAME: Final = 10
"""Cells for the name of a value in ``RowFacts``."""


class StillTable(LiveTable, can_focus=False):
    """A table to read: it has no cursor and takes neither the focus nor clicks."""

    @property
    def row(self) -> None:
        """There is no cursor."""
        return None

    def _follow(self, wanted_otherwise: bool, top: int) -> None:
        """There is no cursor that follows its row."""

    def _line(self, y: int) -> tuple[bool, Line]:
        return False, super()._line(y)[1]

    def on_click(self, event: events.Click) -> None:
        event.prevent_default()


class QueuePanels:
    """The panels of one queue, and what fills them: facts, rates over time, buffers, filters, events.

    ``prefix`` begins the ids of the panels; ``filters`` and ``events`` are the tables to fill. ``narrow``:
    there is no room for both times of an event.
    """

    def __init__(
        self, view: View, prefix: str, filters: LiveTable, events: LiveTable, *, narrow: bool = False
    ) -> None:
        self._view = view
        self._hidden = _SAID_BEFORE | ({"time_ns"} if narrow else frozenset())
        self._facts = QueueFacts(view.model, f"{prefix}-facts")
        self._rates = QueueRates(view.model, f"{prefix}-rates")
        self._memory = QueueMemory(view.model, f"{prefix}-memory")
        self._filters, self._events = filters, events
        filters.empty = "no filter is set on it"
        asked = view.model.asks_for_past_events
        events.empty = "no event" + (" yet" if asked else " since this attached")
        for panel, title in (
            (self._facts, "Queue"),
            (self._rates, "Rates over time"),
            (self._memory, "Buffers"),
            (filters, "Filters"),
            (events, "History"),
        ):
            set_title(panel, title)

    @property
    def parts(self) -> tuple[Widget, ...]:
        """The panels, most important first: facts, rates over time, buffers, filters, events."""
        return self._facts, self._rates, self._memory, self._filters, self._events

    def show(self, row: QueueView | None, gone: bool = False) -> None:
        """Show a queue; ``gone``: it was freed, and this is the last that was known of it."""
        snapshot = self._view.model.snapshot
        for panel in (self._facts, self._rates, self._memory):
            panel.queue, panel.gone = row, gone
        self._rates.note()
        if row is not None:
            set_title(self._facts, title_of_queue(row))
            of = row.adapter, row.queue_id
            its = [one for one in snapshot.filters if (one.adapter, one.queue_id) == of]
            self._view.show(self._filters, its, "Filters", hidden=_OF_QUEUE)
            events = snapshot.events_of_queue(row.adapter, row.queue_id, gone)
            self._view.show(self._events, events, "History", hidden=self._hidden)
        for panel in (self._facts, self._rates, self._memory):
            panel.repaint()


def title_of_queue(row: QueueView) -> str:
    """Return the title of a queue's panels."""
    return f"Queue {row.queue_id} of {row.adapter} · {row.label}"


class RowFacts(ModelCanvas):
    """The values of a row, short ones side by side. Its height is that of its lines."""

    row: Row | None = None
    table: str = ""
    hidden: Collection[str] = ()

    def show(self, row: Row | None, table: str, hidden: Collection[str]) -> None:
        """Show a row of a table, without the columns ``hidden``."""
        self.row, self.table, self.hidden = row, table, hidden
        if len(self._lines) != len(self.paint(self.size.width, 0)):
            self.refresh(layout=True)
        self.repaint()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.paint(width, 0))

    def paint(self, width: int, height: int) -> list[Line]:
        if self.row is None:
            return [[(" nothing is under the cursor", "dim")]]
        counters = self.model.snapshot.sources(self.table, self.model.choices.adapter)
        sources = sources_of(COLUMNS[self.table], counters)
        half = width // 2
        lines: list[Line] = []
        open_line = False
        for column in COLUMNS[self.table]:
            value, level = column.whole(self.row), column.level(self.row) if column.level else ""
            if not column.exported or column.key in self.hidden or not value:
                continue
            name = fit(column.title + MARKS[sources.get(column.key, "exact")], _NAME)
            first, *more = wrap(value, max(10, width - _NAME - 3)) or [""]
            cell: Line = [(f" {name} ", "dim"), (first, level or "text")]
            short = not more and _NAME + 2 + cells_of(first) < half
            if short and open_line:
                left = _NAME + 2 + cells_of(lines[-1][1][0])
                lines[-1] += [(" " * (half - left), "text"), *cell]
                open_line = False
                continue
            lines.append(cell)
            lines += [[(" " * (_NAME + 2), "dim"), (part, level or "text")] for part in more]
            open_line = short
        if isinstance(self.row, PairView):
            about = wrap(_REASONS.get(self.row.reason, ""), max(10, width - 2))
            lines += [[], *([(f" {part}", "dim")] for part in about)]
        return lines


class DetailPane(Container):
    """All about the row under the cursor, beside the tables of its view.

    Its panels are made when it is first on the screen.
    """

    def __init__(self, view: "DetailedView") -> None:
        super().__init__()
        self._view = view
        self._facts: RowFacts | None = None
        titled(self, "Details")

    def _fill(self) -> RowFacts:
        self._facts = RowFacts(self._view.model, "detail-row")
        self._near = StillTable("near_misses")
        self._filters, self._events = StillTable("filters"), StillTable("events")
        for table, name in ((self._near, "near"), (self._filters, "filters"), (self._events, "events")):
            table.add_class(f"detail-{name}", update=False)
        self._panels = QueuePanels(self._view, "detail", self._filters, self._events, narrow=True)
        parts = (self._facts, self._near, *self._panels.parts)
        for part in parts:
            part.add_class("section", update=False)
        self.mount(*parts)
        return self._facts

    def show(self, row: Row | None, table: str) -> None:
        """Show a row of a table of columns; does nothing while the pane is not on the screen."""
        if not self.screen.has_class("-xwide", "-detailed"):
            return
        facts = self._facts or self._fill()
        queue = self._queue_of(row)
        is_queue = isinstance(row, QueueView | FindingRow)
        self.set_class(is_queue, "-queue")
        self.set_class(queue is None, "-alone")
        set_title(self, title_of_queue(queue) if is_queue and queue is not None else _title(row))
        if not is_queue:
            facts.show(row, table, self._view.hidden_columns())
            near = [one for one in self._view.model.snapshot.near_misses if one.pair is row] if row else []
            self.set_class(bool(near), "-near")
            if near:
                hidden = frozenset({"adapter", "mac", "vlan", "sign", "pps", "frames"})
                self._view.show(self._near, near, "Near misses", hidden=hidden)
        if queue is not None:
            self._panels.show(queue)

    def _queue_of(self, row: Row | None) -> QueueView | None:
        """Return the queue that a row is about; None if there is none, or another one has its id now."""
        found = target_of(row, self._view.model.snapshot)
        return None if isinstance(found, str) else found.queue

    def on_resize(self, event: events.Resize) -> None:
        self._view.draw_detail()


def _title(row: Row | None) -> str:
    match row:
        case FilterView():
            return f"Filter {row.filter_id} of {row.adapter} · {row.label}"
        case PairView() | NearMissView():
            pair = row if isinstance(row, PairView) else row.pair
            return f"{pair.mac} · VLAN {vlan_text(pair.vlan)}"
        case PortView():
            return f"Port of {row.config.vm or row.config.mac}"
        case EventRow():
            return f"Event · {row.event.event.replace('_', ' ')}"
        case CpuView():
            return f"Processor {row.processor}"
    return "Details"


class DetailedView(View):
    """A view with a detail pane, which follows the cursor and the moment shown."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.detail: DetailPane = DetailPane(self)

    def draw_detail(self) -> None:
        """Show the row under the cursor in the detail pane."""
        self.detail.show(self.subject, self.table.table)

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self.draw_detail()

    def on_descendant_focus(self) -> None:
        self.draw_detail()
