"""Choosing the columns of a table."""

from dataclasses import replace
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from vmqtui.columns import Column
from vmqtui.columns.arrange import sorted_by
from vmqtui.dialogs.choose import Choices
from vmqtui.dialogs.dialog import Dialog
from vmqtui.state.choices import TableChoice
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.table import LiveTable


class ColumnsDialog(Dialog[TableChoice]):
    """Ends with how the table is wanted. Columns that nobody chose come and go with the room there is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,C", "done", "Done", show=False, priority=True),
        Binding("space", "show_or_hide", "Show or hide", show=False, priority=True),
        Binding("s", "sort", "Sort by it", show=False),
        Binding("r", "reset", "As it comes", show=False),
        Binding("j", "step(1)", "Down", show=False),
        Binding("k", "step(-1)", "Up", show=False),
    ]

    def __init__(self, table: LiveTable, title: str) -> None:
        super().__init__()
        self._title = title
        self._columns: list[Column[Any]] = list(table.columns)
        self._shown = {column.key for column in table.shown_columns}
        self._choice = table.choice
        self._list = Choices(id="choices", compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes="wide") as dialog:
            dialog.border_title = f"Columns of {self._title}"
            dialog.border_subtitle = "Space shows or hides · s sorts by it · r as it comes · ⏎ done"
            yield self._list

    def on_mount(self) -> None:
        self._fill()
        self._list.focus()

    def _fill(self) -> None:
        at = self._list.highlighted or 0
        self._list.set_options([Option(self._line(column)) for column in self._columns])
        self._list.highlighted = at

    def _line(self, column: Column[Any]) -> Text:
        style = palette_of(self).style
        choice = self._choice
        if column.key in choice.always:
            mark, role, words = "●", "good", "always"
        elif column.key in choice.never:
            mark, role, words = "○", "bad", "never"
        else:
            shown = column.key in self._shown
            mark, role, words = (
                ("•" if shown else "·"),
                "text" if shown else "dim",
                "" if shown else "no room",
            )
        sorted_by = choice.sort is not None and choice.sort[0] == column.key
        arrow = ("↓" if choice.sort and choice.sort[1] else "↑") if sorted_by else " "
        return Text.assemble(
            (f" {mark} ", style(role)),
            (f"{words:<8}", style("dim")),
            (f"{arrow} ", style("accent")),
            (f"{column.title or column.key.replace('_', ' '):<14.14}", style("strong")),
            (f"{column.key if column.exported else '':<22.22} ", style("accent")),
            (column.help, style("dim")),
            no_wrap=True,
            overflow="ellipsis",
        )

    def _at(self) -> Column[Any]:
        return self._columns[self._list.highlighted or 0]

    def action_show_or_hide(self) -> None:
        """Show the column whatever room there is, or never."""
        key, choice = self._at().key, self._choice
        shown = key in choice.always or (key in self._shown and key not in choice.never)
        self._choice = replace(
            choice,
            always=choice.always - {key} if shown else choice.always | {key},
            never=choice.never | {key} if shown else choice.never - {key},
        )
        self._fill()

    def action_sort(self) -> None:
        """Sort by the column; again: the other way round."""
        self._choice = replace(self._choice, sort=sorted_by(self._at(), self._choice.sort))
        self._fill()

    def action_reset(self) -> None:
        """Forget what was chosen."""
        self._choice = replace(self._choice, always=frozenset(), never=frozenset(), sort=None)
        self._fill()

    def action_step(self, step: int) -> None:
        """Move the cursor."""
        self._list.highlighted = ((self._list.highlighted or 0) + step) % len(self._columns)

    def action_done(self) -> None:
        """Take what was chosen."""
        self.dismiss(self._choice)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_show_or_hide()

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.action_done()
