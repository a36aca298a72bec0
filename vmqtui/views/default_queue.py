"""The default queue: why frames land there, whose they are, and what nearly took them."""

from textual.app import ComposeResult
from textual.containers import Container

from engine.counted import counted
from vmqtui.numbers import percent
from vmqtui.state.model import Model
from vmqtui.state.rows import known_sum, ratio
from vmqtui.views.view import View, set_title, titled
from vmqtui.widgets.panels import ReasonChart, ReasonPanel
from vmqtui.widgets.table import LiveTable


class DefaultQueueView(View):
    """What no filter took: by reason over time, by pair of MAC and VLAN, and what missed by a VLAN."""

    view_id = "default"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._reasons = ReasonPanel(model, "default-reasons")
        self._chart = ReasonChart(model, "default-chart")
        self._top = LiveTable("top", widget_id="default-top")
        self._near = LiveTable("near_misses", widget_id="default-near", empty="no MAC misses by its VLAN")
        self._ports = LiveTable("ports", widget_id="default-ports", empty="every port has a queue")

    def compose(self) -> ComposeResult:
        with Container(id="default-why"):
            yield titled(self._reasons, "Default queue by reason")
            yield titled(self._chart, "pkt/s over time, by reason")
        yield titled(self._top, "Who lands here")
        with Container(id="default-rest"):
            yield titled(self._near, "Near misses")
            yield titled(self._ports, "Ports without a queue")

    @property
    def main(self) -> LiveTable:
        return self._ports if self.has_class("-silent") else self._top

    def draw(self) -> None:
        self._reasons.repaint()
        self._chart.repaint()
        model = self.model
        adapters = [row for row in model.snapshot.adapters if model.choices.adapter in (None, row.adapter)]
        default = known_sum(row.default_pps for row in adapters)
        steered = known_sum(row.steered_rate for row in adapters)
        share = ratio(default, steered)
        set_title(
            self._reasons,
            "Default queue by reason" + (f" · {percent(share)} of all steered" if share is not None else ""),
        )
        told = any(row.top_known for row in adapters)
        self.set_class(bool(adapters) and not told, "-silent")
        self._top.empty = "no frame fell to it" if told else "no reading yet"
        self.fill(self._top, "Who lands here", self._explained(default) if told else "")
        self.fill(self._near, "Near misses", "the MAC fits, the VLAN does not")
        ports = [row for row in model.snapshot.ports if model.choices.adapter in (None, row.adapter)]
        without = [row for row in ports if row.queue is None]
        self.show(
            self._ports,
            without,
            "Ports without a queue",
            f"{counted(len(ports), 'port')} in all",
            frozenset({"queue_id"}),
        )

    def _explained(self, default: float | None) -> str:
        """How much of the default queue the listed pairs explain."""
        chosen = self.model.choices.adapter
        rows = [row for row in self.model.snapshot.top if chosen in (None, row.adapter)]
        known = known_sum(row.pps for row in rows)
        share = ratio(known, default)
        return "" if share is None else f"{percent(min(1.0, share))} of its frames"
