"""Dialogs that end with a choice: from a list, an action, a host, a time."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from vmqtui.dialogs.dialog import Dialog
from vmqtui.printable import printable
from vmqtui.state.hosts import Hosts
from vmqtui.state.model import Model
from vmqtui.state.moment import FITS, ends, read_when
from vmqtui.state.rows import HostRow
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.table import LiveTable


class Choices(OptionList):
    """A list of options that takes keys before it has a size: Textual's fails to page then."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.scrollable_content_region) or action not in ("page_up", "page_down")


class ChooseDialog(Dialog[int]):
    """Choose one of some lines; ends with its index, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Close", show=False)]

    def __init__(self, title: str, lines: Sequence[str], at: int = 0) -> None:
        super().__init__()
        self._title = title
        self._choices = Choices(
            *(Option(Text(printable(line), no_wrap=True)) for line in lines), id="choices", compact=True
        )
        self._at = at

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._title
            yield self._choices

    def on_mount(self) -> None:
        self._choices.highlighted = self._at
        self._choices.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)


class ActionPalette(CommandPalette, Dialog[None]):
    """Textual's command palette, as a dialog."""

    def __init__(self) -> None:
        super().__init__()
        self.id = "--command-palette"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "command_list" and not any(
            one.scrollable_content_region for one in self.query(CommandList)
        ):
            return False  # as of ``Choices``
        return super().check_action(action, parameters)


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


class WhenDialog(Dialog[int]):
    """Ends with a moment between two others (Unix time in ns), or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", show=False)]

    def __init__(self, first_ns: int, last_ns: int) -> None:
        super().__init__()
        self._ends = first_ns, last_ns
        self._input = Input(placeholder="14:03:20", id="when", compact=True, max_length=40)
        self._answer = Static("", id="answer")

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Go to a time"
            dialog.border_subtitle = "⏎ goes there, esc closes"
            yield Static(Text(f"There is {ends(*self._ends)}. What fits: {FITS}."), id="explanation")
            with Horizontal(classes="field"):
                yield Label("Time", classes="label")
                yield self._input
            yield self._answer

    def on_mount(self) -> None:
        self.set_focus(self._input)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self.dismiss(read_when(event.value, *self._ends))
        except ValueError as error:
            self._say(str(error))

    def _say(self, words: str) -> None:
        self._answer.display = bool(words)
        self._answer.update(Text(words, palette_of(self).style("warn")))
