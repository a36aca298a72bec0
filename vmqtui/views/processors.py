"""Processors and the queues they serve, as a matrix in which queues are moved."""

from textual.app import ComposeResult
from textual.containers import Container

from engine.counted import counted
from engine.view.rows import CpuView, QueueView
from vmqtui.state.model import Model
from vmqtui.state.placement import Forecast, Move, balancer_words, followed, forecast, intended, load_of
from vmqtui.state.rows import Row
from vmqtui.views.view import View, titled
from vmqtui.widgets.matrix import MatrixTable, MovePanel
from vmqtui.widgets.table import LiveTable


class ProcessorsView(View):
    """The matrix above; below it before and after of a move, and the queues of one processor."""

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
            yield titled(self._panel, "Before and after")
            yield titled(self._queues, "Queues")

    @property
    def main(self) -> LiveTable:
        return self._matrix

    @property
    def subject(self) -> Row | None:
        """In the matrix: the queue of the cursor's column."""
        if self.table is self._matrix and self._matrix.queue is not None:
            return self._matrix.queue
        return super().subject

    @property
    def proposal(self) -> Forecast | None:
        """The move that the matrix's cursor stands for."""
        queue, target = self._matrix.queue, self._matrix.target
        if self.table is not self._matrix or queue is None or target is None:
            return None
        return forecast(self.model.snapshot, queue, target)

    def move_asked(self, proposal: Forecast) -> None:
        """A move was asked for: show what comes of it."""
        self._move = intended(proposal)

    def draw(self) -> None:
        snapshot = self.model.snapshot
        self._matrix.set_queues(snapshot.queues, snapshot.config.cpu_model if snapshot.config else {})
        balancer = balancer_words(snapshot)
        queues = counted(len(snapshot.queues), "queue")
        self.fill(self._matrix, "Processors", f"{queues} · {balancer}" if balancer else queues)
        self._matrix.border_subtitle = self._matrix.seen_words
        if self._move is not None:
            self._move = followed(self._move, snapshot)
        self._draw_rest()

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
