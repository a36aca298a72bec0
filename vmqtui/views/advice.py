"""Advice: what is wrong, and what to do about it."""

from textual.app import ComposeResult

from vmqtui.state.advice import FindingRow
from vmqtui.state.model import Model
from vmqtui.views.tables import TableView
from vmqtui.views.view import titled
from vmqtui.widgets.finding import FindingPanel
from vmqtui.widgets.table import LiveTable


class AdviceView(TableView):
    """Findings, worst first, and everything about the one under the cursor.

    The cursor is on a finding, not on a line: where its finding is listed no more, it is on none until it is
    moved, so that a key never means another one.
    """

    view_id = "advice"
    table_name = "advice"
    title = "Advice"
    without = ("numbers", "effect")
    empty = "nothing found"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._table.faithful = True
        self._panel = FindingPanel(model, "advice-finding")

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield titled(self._panel, "What shows it, why, and what to do")

    def draw(self) -> None:
        judged = self.model.snapshot.advised.judged_ns is not None
        self._table.empty = (
            "nothing found" if judged else "nothing is judged yet: that takes some two seconds"
        )
        super().draw()
        self._draw_panel()

    def extra(self) -> str:
        """The time that was judged."""
        advised = self.model.snapshot.advised
        if advised.judged_ns is None:
            return ""
        return f"over {advised.seconds:.3g} s" if advised.whole else f"over {advised.seconds:.3g} s so far"

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self._draw_panel()

    def _draw_panel(self) -> None:
        row = self._table.row
        self._panel.row = row if isinstance(row, FindingRow) else None
        self._panel.is_gone = row is None and bool(self._table.rows)
        self._panel.repaint()
