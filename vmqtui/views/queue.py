"""One queue, and all that is known of it."""

from collections.abc import Hashable

from textual.app import ComposeResult
from textual.containers import Container

from vmqtui.state.model import Model
from vmqtui.state.rows import FilterRow, QueueRow, Row
from vmqtui.views.view import View, set_title, titled
from vmqtui.widgets.queue_panels import QueueFacts, QueueMemory, QueueRates
from vmqtui.widgets.table import LiveTable

_SAID_BEFORE = frozenset({"adapter", "queue_id", "queue"})


class QueueView(View):
    """What a queue is, its rates, its memory, its filters, and what happened to it."""

    view_id = "queue"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._identity: Hashable = None
        self._row: QueueRow | None = None
        self._facts = QueueFacts(model, "queue-facts")
        self._rates = QueueRates(model, "queue-rates")
        self._memory = QueueMemory(model, "queue-memory")
        self._filters = LiveTable("filters", widget_id="queue-filters", empty="no filter is set on it")
        empty = "nothing happened to it" + (" yet" if model.asks_for_past_events else " since this attached")
        self._events = LiveTable("events", widget_id="queue-events", empty=empty)

    def compose(self) -> ComposeResult:
        with Container(id="queue-top"):
            yield titled(self._facts, "Queue")
            yield titled(self._rates, "Rates over time")
        yield titled(self._memory, "Buffers")
        with Container(id="queue-rest"):
            yield titled(self._filters, "Filters")
            yield titled(self._events, "State history")

    @property
    def main(self) -> LiveTable:
        return self._filters

    @property
    def subject(self) -> Row | None:
        row = self.table.row
        return row if isinstance(row, FilterRow) else self._row

    @property
    def queue(self) -> QueueRow | None:
        """The queue that is shown."""
        return self._row

    def look_at(self, row: QueueRow) -> None:
        """Show another queue."""
        self._identity, self._row = row.identity, row

    def draw(self) -> None:
        snapshot = self.model.snapshot
        found = next((row for row in snapshot.queues if row.identity == self._identity), None)
        self._row = found or self._row
        row, gone = self._row, found is None
        for panel in (self._facts, self._rates, self._memory):
            panel.queue, panel.gone = row, gone
        self._rates.note()
        if row is not None:
            set_title(self._facts, f"Queue {row.queue_id} of {row.adapter} · {row.label}")
            its = [one for one in snapshot.filters if self._is_its(one)]
            self.show(self._filters, its, "Filters", hidden=frozenset({"adapter", "queue_id", "vm"}))
            events = snapshot.events_of_queue(row.adapter, row.queue_id, gone)
            self.show(self._events, events, "State history", hidden=_SAID_BEFORE)
        for panel in (self._facts, self._rates, self._memory):
            panel.repaint()

    def _is_its(self, one: FilterRow) -> bool:
        row = self._row
        return row is not None and (one.adapter, one.queue_id) == (row.adapter, row.queue_id)
