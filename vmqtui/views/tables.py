"""Views of one table: queues, filters, buffers, events, advice."""

from collections import Counter

from textual.app import ComposeResult
from textual.containers import Container

from engine.counted import counted
from engine.view.rates import whole_sum
from engine.view.rows import QueueView, Trouble
from vmqtui.columns import advice as words
from vmqtui.numbers import grouped
from vmqtui.state.model import Model
from vmqtui.state.rows import FindingRow
from vmqtui.views.detail import DetailedView
from vmqtui.views.view import titled
from vmqtui.widgets.panels import FindingPanel
from vmqtui.widgets.queue_panels import MemoryMap
from vmqtui.widgets.table import LiveTable


class TableView(DetailedView):
    """Base of views with one table, and the detail pane beside it."""

    table_name = ""
    title = ""
    without: tuple[str, ...] = ()
    empty = "nothing here"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._table = LiveTable(
            self.table_name, widget_id=f"{self.view_id}-table", without=self.without, empty=self.empty
        )

    def compose(self) -> ComposeResult:
        yield titled(self._table, self.title)
        yield self.detail

    @property
    def main(self) -> LiveTable:
        return self._table

    def draw(self) -> None:
        self.fill(self._table, self.title, self.extra())
        self.draw_detail()

    def extra(self) -> str:
        """Return the text that follows the title and row count; "" for none."""
        return ""


class QueuesView(TableView):
    """All queues."""

    view_id = "queues"
    table_name = "queues"
    title = "Queues"
    empty = "no queues yet"

    def extra(self) -> str:
        most = whole_sum(
            row.config.max_queues if row.config else None
            for row in self.model.snapshot.adapters
            if self.model.choices.adapter in (None, row.adapter)
        )
        return f"at most {grouped(most)} and the default queue" if most else ""


class FiltersView(TableView):
    """All filters and their matches."""

    view_id = "filters"
    table_name = "filters"
    title = "Filters"
    empty = "no filters set"

    def extra(self) -> str:
        """Return the limit, and the counts of filters that don't work, by cause."""
        chosen = self.model.choices.adapter
        snapshot = self.model.snapshot
        counts = Counter(row.trouble for row in snapshot.filters if chosen in (None, row.adapter))
        words: dict[Trouble, str] = {
            "unmatched": "never matched",
            "shadowed": "shadowed",
            "stopped": "on queues that don't run",
        }
        most = whole_sum(
            row.config.max_filters if row.config else None
            for row in snapshot.adapters
            if chosen in (None, row.adapter)
        )
        parts = [f"at most {grouped(most)}"] if most else []
        return " · ".join(
            parts + [f"{grouped(counts[key])} {what}" for key, what in words.items() if counts[key]]
        )


class BuffersView(TableView):
    """Receive buffers: a map of those of each adapter and of the queue under the cursor, and a table."""

    view_id = "buffers"
    table_name = "buffers"
    title = "Receive buffers of queues"
    empty = "no queues yet"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._map = MemoryMap(model, "buffers-map")

    def compose(self) -> ComposeResult:
        with Container(id="buffers-main"):
            yield titled(self._map, "Where memory lives")
            yield titled(self._table, self.title)
        yield self.detail

    def draw(self) -> None:
        snapshot = self.model.snapshot
        rows = snapshot.rows("buffers", self.model.choices.adapter)
        told = ("total_buffers", "free_buffers", "pending", "outstanding", "dropped_no_buffer")
        if snapshot.measured and not any(
            isinstance(row, QueueView) and row.count(name) is not None for row in rows for name in told
        ):
            self._table.empty = (
                "nothing is known of this host's receive buffers, nor of frames that found none"
            )
            self.show(self._table, [], "Receive buffers of queues")
            self.draw_detail()
        else:
            self._table.empty = self.empty
            super().draw()
        self._draw_map()

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self._draw_map()

    def _draw_map(self) -> None:
        row = self._table.row
        self._map.queue = row if isinstance(row, QueueView) else None
        self._map.repaint()

    def extra(self) -> str:
        rows = [
            row for row in self.model.snapshot.adapters if self.model.choices.adapter in (None, row.adapter)
        ]
        given = whole_sum(row.buffers_given for row in rows)
        total = whole_sum(row.config.buffers if row.config else None for row in rows)
        if self.model.snapshot.measured and (given is None or total is None):
            return "" if given is None else f"{counted(given, 'buffer')} in queues"
        return f"{grouped(given)} of {grouped(total)} buffers in queues"


class EventsView(TableView):
    """Events, newest first."""

    view_id = "events"
    table_name = "events"
    title = "Events"
    empty = "no events"

    def extra(self) -> str:
        """Return a note if the dashboard is read-only, because it then does not request earlier events."""
        return "" if self.model.asks_for_past_events else "read-only: earlier events are not asked for"


class AdviceView(TableView):
    """Findings, worst first, and the details of the one under the cursor.

    The cursor follows its finding. If that finding disappears, no row is selected until the cursor moves, so
    that a key never acts on another finding.
    """

    view_id = "advice"
    table_name = "advice"
    title = "Advice"
    without: tuple[str, ...] = ("numbers", "effect")
    empty = "nothing found"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._table.faithful = True
        self._panel = FindingPanel(model, "advice-finding")

    def compose(self) -> ComposeResult:
        yield titled(self._table, self.title)
        with Container(id="advice-side"):
            yield titled(self._panel, "What shows it, why, and what to do")
            yield self.detail

    def draw(self) -> None:
        advised = self.model.snapshot.advised
        self._table.empty = (
            "nothing is judged yet: that takes some two seconds"
            if advised.judged_ns is None
            else words.nothing_found(advised.unchecked, so_far=advised.left_s > 0)
        )
        super().draw()
        self._draw_panel()

    def extra(self) -> str:
        """Return the simulated time that the findings cover, whether their order is final, and the number of
        rules that could not look, in words; "" before the first evaluation."""
        advised = self.model.snapshot.advised
        if advised.judged_ns is None:
            return ""
        blind = words.blind(advised.unchecked)
        could_not = f", {counted(len(blind), 'rule')} could not look" if blind else ""
        return words.watched(advised.seconds, advised.left_s) + could_not

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self._draw_panel()

    def _draw_panel(self) -> None:
        row = self._table.row
        self._panel.row = row if isinstance(row, FindingRow) else None
        self._panel.is_gone = row is None and bool(self._table.rows)
        self._panel.repaint()
