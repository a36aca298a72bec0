"""Views of several panels: the overview, processors, the default queue, the page of one queue."""

from collections.abc import Hashable

from textual.app import ComposeResult
from textual.containers import Container

from engine.counted import counted
from engine.view.rates import known_sum, ratio, whole_sum
from engine.view.rows import CpuView, FilterView, QueueView
from vmqtui.numbers import percent
from vmqtui.state.model import Model
from vmqtui.state.placement import Forecast, Move, balancer_words, followed, forecast, intended, load_of
from vmqtui.state.rows import Row
from vmqtui.views.detail import DetailedView, QueuePanels
from vmqtui.views.view import View, set_title, titled
from vmqtui.widgets.matrix import MatrixTable, MovePanel
from vmqtui.widgets.panels import CpuPanel, EventTail, ReasonChart, ReasonPanel
from vmqtui.widgets.table import LiveTable


class OverviewView(View):
    """Queues, processors, the default queue and events on one page."""

    view_id = "overview"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._queues = LiveTable("queues", widget_id="overview-queues", empty="no queues yet")
        self._cpus = CpuPanel(model, "overview-cpus")
        self._reasons = ReasonPanel(model, "overview-reasons")
        self._chart = ReasonChart(model, "overview-chart")
        self._events = EventTail(model, "overview-events")

    def compose(self) -> ComposeResult:
        yield titled(self._queues, "Queues")
        with Container(id="overview-side"):
            yield titled(self._cpus, "Processors")
            yield titled(self._reasons, "Default queue")
            yield titled(self._chart, "Default queue, pkt/s by reason")
            yield titled(self._events, "Events")

    @property
    def main(self) -> LiveTable:
        return self._queues

    def draw(self) -> None:
        self.fill(self._queues, "Queues")
        set_title(self._cpus, f"Processors {len(self.model.snapshot.cpus)}")
        self._cpus.fit_height()
        by_reason = "" if self._chart.nothing_known else " by reason"
        set_title(self._chart, f"Default queue, pkt/s{by_reason}")
        self._chart.repaint()
        self._cpus.repaint()
        self._reasons.repaint()
        self._events.repaint()


class DefaultQueueView(DetailedView):
    """Frames that no filter took: by reason over time, by MAC and VLAN pair, and near misses by VLAN."""

    view_id = "default"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._reasons = ReasonPanel(model, "default-reasons")
        self._chart = ReasonChart(model, "default-chart")
        self._top = LiveTable("top", widget_id="default-top")
        self._near = LiveTable("near_misses", widget_id="default-near", empty="no MAC misses by its VLAN")
        self._ports = LiveTable("ports", widget_id="default-ports")

    def compose(self) -> ComposeResult:
        with Container(id="default-why"):
            yield titled(self._reasons, "Default queue by reason")
            yield titled(self._chart, "pkt/s over time, by reason")
        with Container(id="default-main"):
            with Container(id="default-tables"):
                yield titled(self._top, "Who lands here")
                with Container(id="default-rest"):
                    yield titled(self._near, "Near misses")
                    yield titled(self._ports, "Ports without a queue")
            yield self.detail

    @property
    def main(self) -> LiveTable:
        return self._ports if self.has_class("-silent") else self._top

    def draw(self) -> None:
        self._reasons.repaint()
        self._chart.repaint()
        model = self.model
        adapters = [row for row in model.snapshot.adapters if model.choices.adapter in (None, row.adapter)]
        default = whole_sum(row.default_pps for row in adapters)
        share = ratio(default, whole_sum(row.steered_rate for row in adapters))
        by_reason = "" if self._chart.nothing_known else ", by reason"
        set_title(self._chart, f"pkt/s over time{by_reason}")
        set_title(
            self._reasons,
            ("Default queue" if self._chart.nothing_known else "Default queue by reason")
            + (f" · {percent(share)} of all steered" if share is not None else ""),
        )
        told = any(row.pairs_known for row in adapters)
        self.set_class(bool(adapters) and not told, "-silent")
        self._top.empty = "no frame fell to it" if told else "no reading yet"
        self.fill(self._top, "Who lands here", self._explained(default) if told else "")
        self.fill(self._near, "Near misses", "the MAC fits, the VLAN does not")
        ports = [row for row in model.snapshot.ports if model.choices.adapter in (None, row.adapter)]
        own = model.snapshot.is_linux  # whose own ports are meant to be served by the default queue
        without = [row for row in ports if row.queue is None and not (own and row.config.management_os)]
        self._ports.empty = "every port has a queue" if ports else "no switch port is known"
        self.show(
            self._ports,
            without,
            "Ports without a queue",
            f"of {len(ports):,}" if ports else "",
            frozenset({"queue_id"}),
        )
        self.draw_detail()

    def _explained(self, default: float | None) -> str:
        """Return the share of the listed pairs in the default queue's frames, and what ≤ says, in words."""
        chosen = self.model.choices.adapter
        rows = [row for row in self.model.snapshot.top if chosen in (None, row.adapter)]
        known = known_sum(row.pps for row in rows)
        share = ratio(known, default)
        at_most = "≤ frames: so many at most"
        return at_most if share is None else f"{percent(min(1.0, share))} of its frames · {at_most}"


class QueuePage(View):
    """The facts, rates, memory, filters and events of one queue."""

    view_id = "queue"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._identity: Hashable = None
        self._row: QueueView | None = None
        self._filters = LiveTable("filters", widget_id="queue-filters")
        self._events = LiveTable("events", widget_id="queue-events")
        self._panels = QueuePanels(self, "queue", self._filters, self._events)

    def compose(self) -> ComposeResult:
        panels = self._panels.parts
        for panel in panels:
            panel.add_class("panel", update=False)
        with Container(id="queue-top"):
            yield from panels[:2]
        yield panels[2]
        with Container(id="queue-rest"):
            yield from panels[3:]

    @property
    def main(self) -> LiveTable:
        return self._filters

    @property
    def subject(self) -> Row | None:
        row = self.table.row
        return row if isinstance(row, FilterView) else self._row

    @property
    def queue(self) -> QueueView | None:
        """The queue that is shown."""
        return self._row

    def look_at(self, row: QueueView) -> None:
        """Select the queue to show at the next ``draw``."""
        self._identity, self._row = row.identity, row

    def draw(self) -> None:
        snapshot = self.model.snapshot
        found = next((row for row in snapshot.queues if row.identity == self._identity), None)
        self._row = found or self._row
        self._panels.show(self._row, found is None)


class ProcessorsView(DetailedView):
    """The matrix; below it, loads before and after a move, and the queues of one processor."""

    view_id = "processors"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._matrix = MatrixTable("processors-cpus")
        self._panel = MovePanel(model, "processors-move")
        self._queues = LiveTable("queues", widget_id="processors-queues", empty="no queue is served here")
        self._move: Move | None = None

    def compose(self) -> ComposeResult:
        yield titled(self._matrix, "Processors")
        with Container(id="processors-rest"):
            with Container(id="processors-side"):
                yield titled(self._panel, "Before and after")
                yield titled(self._queues, "Queues")
            yield self.detail

    @property
    def main(self) -> LiveTable:
        return self._matrix

    @property
    def subject(self) -> Row | None:
        """The queue of the cursor's column in the matrix, or the row of another focused table."""
        if self.table is self._matrix and self._matrix.queue is not None:
            return self._matrix.queue
        return super().subject

    @property
    def proposal(self) -> Forecast | None:
        """The move that the cursor in the matrix proposes, if any."""
        queue, target = self._matrix.queue, self._matrix.target
        if self.table is not self._matrix or queue is None or target is None:
            return None
        return forecast(self.model.snapshot, queue, target)

    def move_asked(self, proposal: Forecast) -> None:
        """Track a requested move, to show its effect later."""
        self._move = intended(proposal)

    def draw(self) -> None:
        snapshot = self.model.snapshot
        sets = {
            name: None if one.processor_set is None else frozenset(one.processor_set)
            for name, one in snapshot.index.adapters.items()
        }
        model = snapshot.config.cpu_model if snapshot.config else {}
        self._matrix.proposes = not snapshot.measured
        set_title(self._panel, "Queue" if snapshot.measured else "Before and after")
        self._matrix.set_queues([one for one in snapshot.queues if one.cpu is not None], model, sets)
        apart = [one for one in snapshot.queues if one.cpu is None]
        balancer = balancer_words(snapshot)
        queues = counted(len(snapshot.queues), "queue")
        if apart:
            queues += f", {len(apart):,} of them with no known processor"
        self.fill(self._matrix, "Processors", f"{queues} · {balancer}" if balancer else queues)
        self._matrix.begin()
        self._matrix.border_subtitle = self._matrix.seen_words
        self._panel.apart = apart
        if self._move is not None:
            self._move = followed(self._move, snapshot)
        self._draw_rest()
        self.draw_detail()

    def _draw_rest(self) -> None:
        snapshot, panel, queue = self.model.snapshot, self._panel, self._matrix.queue
        cpu = next((one for one in snapshot.cpus if queue is not None and one.cpu == queue.cpu), None)
        panel.queue = queue
        model = snapshot.config.cpu_model if snapshot.config else {}
        panel.load = load_of(queue, cpu, model) if queue is not None and cpu is not None else None
        target = self._matrix.target
        panel.proposal = None
        if queue is not None and target is not None:
            panel.proposal = forecast(snapshot, queue, target)
        moved = self._move is not None and self._move.at_ns is not None
        panel.last = self._move if moved else None
        panel.repaint()
        row = self._matrix.row
        queues: tuple[QueueView, ...] = tuple(row.queues) if isinstance(row, CpuView) else ()
        title = f"Queues of processor {row.processor} ·" if isinstance(row, CpuView) else "Queues"
        self.show(self._queues, queues, title, hidden=frozenset({"processor"}))

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self._draw_rest()
