"""Advice: what is wrong, and what to do about it."""

from textual.app import ComposeResult

from vmqtui.state.advice import FindingRow
from vmqtui.state.model import Model
from vmqtui.views.tables import TableView
from vmqtui.views.view import titled
from vmqtui.widgets.finding import FindingPanel
from vmqtui.widgets.table import LiveTable


class AdviceView(TableView):
    """Findings, worst first, and everything about the one under the cursor."""

    view_id = "advice"
    table_name = "advice"
    title = "Advice"
    without = ("numbers", "effect")
    empty = "nothing found"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._panel = FindingPanel(model, "advice-finding")

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield titled(self._panel, "What shows it, why, and what to do")

    def draw(self) -> None:
        told = self.model.snapshot.before is not None
        self._table.empty = "nothing found" if told else "it takes two readings to say something"
        super().draw()
        self._draw_panel()

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self._draw_panel()

    def _draw_panel(self) -> None:
        row = self._table.row
        self._panel.finding = row.finding if isinstance(row, FindingRow) else None
        self._panel.repaint()
