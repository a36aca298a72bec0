"""Dialogs that return a choice: a line of a list, an action, a host, a time, or columns of a table."""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import wrap
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from vmqtui.columns import Column
from vmqtui.columns.arrange import sorted_by
from vmqtui.dialogs.dialog import Dialog
from vmqtui.printable import printable
from vmqtui.state.choices import TableChoice
from vmqtui.state.hosts import Hosts
from vmqtui.state.model import Model
from vmqtui.state.moment import FITS, Reach, ends, read_when, time_of_day
from vmqtui.state.rows import HostRow
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.table import LiveTable


class Choices(OptionList):
    """An option list that ignores paging keys until it has a size; Textual's raises an exception then."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.scrollable_content_region) or action not in ("page_up", "page_down")


class ChooseDialog(Dialog[int]):
    """Returns the index of the chosen line, or None."""

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
            dialog.border_title = printable(self._title).replace("[", r"\[")
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
            return False  # as in ``Choices``
        return super().check_action(action, parameters)


_OF_SUMMARIES = (
    "age_s", "cpus_down", "default_pps", "busiest_load", "busiest_cpu", "bad", "cost", "note",
    "worst",
)  # fmt: skip
"""Columns that only summaries have; rows made from full readings lack them."""


class HostDialog(Dialog[str]):
    """Returns the name of a host, or None."""

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
        """Return the host under the cursor."""
        row = self._table.row
        self.dismiss(row.host if isinstance(row, HostRow) else None)


class WhenDialog(Dialog[int]):
    """Returns a time within ``reach`` (Unix time in ns), or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", show=False)]

    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach
        self._input = Input(placeholder="14:03:20", id="when", compact=True, max_length=40)
        self._answer = Static("", id="answer")

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Go to a time"
            dialog.border_subtitle = "⏎ goes there, esc closes"
            first_ns, last_ns, shown_ns = self._reach
            there = f"There is {ends(first_ns, last_ns)}; {time_of_day(shown_ns)} was shown when this opened."
            yield Static(Text(f"{there} What fits: {FITS} then."), id="explanation")
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
            self.dismiss(read_when(event.value, *self._reach))
        except ValueError as error:
            self._say(str(error))

    def _say(self, words: str) -> None:
        self._answer.display = bool(words)
        self._answer.update(Text(words, palette_of(self).style("warn")))


_PADDING: Final = 2
"""Blanks at the ends of an option."""
_HELP_BESIDE: Final = 32
"""Cells from which the help of a column stands beside its name, not below it."""


class ColumnsDialog(Dialog[TableChoice]):
    """Returns the choice of columns and sort order. A column without a choice is shown if there is room."""

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
        self._why_hidden = table.why_hidden
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
                "" if shown else self._why_hidden.get(column.key, "no room"),
            )
        sorted_by = choice.sort is not None and choice.sort[0] == column.key
        arrow = ("↓" if choice.sort and choice.sort[1] else "↑") if sorted_by else " "
        named = (
            (f" {mark} ", style(role)),
            (f"{words:<9} ", style("dim")),
            (f"{arrow} ", style("accent")),
            (f"{column.title or column.key.replace('_', ' '):<14.14}", style("strong")),
            (f"{column.key if column.exported else '':<22.22} ", style("accent")),
        )
        beside = " " * sum(len(text) for text, _ in named)
        width = self._list.content_size.width - _PADDING if self._list.size else 1000
        below = " " * sum(len(text) for text, _ in named[:3])
        if width - len(beside) < _HELP_BESIDE:
            about = "".join(f"\n{below}{line}" for line in wrap(column.help, max(10, width - len(below))))
        else:
            about = f"\n{beside}".join(wrap(column.help, width - len(beside)))
        return Text.assemble(*named, (about, style("dim")))

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _at(self) -> Column[Any]:
        return self._columns[self._list.highlighted or 0]

    def action_show_or_hide(self) -> None:
        """Set the column under the cursor to "never" if it is shown, else to "always"."""
        key, choice = self._at().key, self._choice
        shown = key in choice.always or (key in self._shown and key not in choice.never)
        self._choice = replace(
            choice,
            always=choice.always - {key} if shown else choice.always | {key},
            never=choice.never | {key} if shown else choice.never - {key},
        )
        self._fill()

    def action_sort(self) -> None:
        """Sort by the column; if that is the sort column already, reverse the order."""
        self._choice = replace(self._choice, sort=sorted_by(self._at(), self._choice.sort))
        self._fill()

    def action_reset(self) -> None:
        """Reset columns and order to the default."""
        self._choice = replace(self._choice, always=frozenset(), never=frozenset(), sort=None)
        self._fill()

    def action_step(self, step: int) -> None:
        """Move the cursor by ``step`` lines, wrapping around."""
        self._list.highlighted = ((self._list.highlighted or 0) + step) % len(self._columns)

    def action_done(self) -> None:
        """Return the choice."""
        self.dismiss(self._choice)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_show_or_hide()

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.action_done()
