"""Choosing a host of the broker, from a table that lives."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from vmqtui.dialogs.dialog import Dialog
from vmqtui.state.hosts import Hosts
from vmqtui.state.model import Model
from vmqtui.state.rows import HostRow
from vmqtui.widgets.table import LiveTable

_OF_SUMMARIES = (
    "age_s", "kind", "cpus_down", "default_pps", "busiest_load", "busiest_cpu", "bad", "cost", "note",
    "worst",
)  # fmt: skip
"""Columns that a row made of a whole reading does not have."""


class HostDialog(Dialog[str]):
    """Ends with the name of a host, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._hosts = Hosts(model.link)
        self._model = model
        self._table = LiveTable(
            "hosts", widget_id="choose-host", without=("version", "started_at", *_OF_SUMMARIES)
        )

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes="wide") as dialog:
            dialog.border_title = "Hosts of this broker"
            dialog.border_subtitle = "⏎ shows one, esc closes"
            yield self._table

    def on_mount(self) -> None:
        self.draw()
        names = [row.host for row in self._table.rows if isinstance(row, HostRow)]
        if self._model.host in names:
            self._table.move_to(names.index(self._model.host))
        self._table.focus()

    def draw(self) -> None:
        rows = self._hosts.take(self._model.snapshot)
        self._table.styles.height = max(2, min(len(rows) + 1, self.app.size.height - 6))
        self._table.show(rows)

    def on_live_table_chosen(self, event: LiveTable.Chosen) -> None:
        self.action_choose()

    def action_choose(self) -> None:
        """End with the host under the cursor."""
        row = self._table.row
        self.dismiss(row.host if isinstance(row, HostRow) else None)
