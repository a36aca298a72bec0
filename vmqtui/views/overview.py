"""The overview: everything at a glance."""

from textual.app import ComposeResult
from textual.containers import Container

from vmqtui.state.model import Model
from vmqtui.views.view import View, set_title, titled
from vmqtui.widgets.panels import CpuPanel, EventTail, ReasonChart, ReasonPanel
from vmqtui.widgets.table import LiveTable


class OverviewView(View):
    """Everything at a glance."""

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
        self._chart.repaint()
        self._cpus.repaint()
        self._reasons.repaint()
        self._events.repaint()
