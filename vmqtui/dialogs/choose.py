"""Dialogs that choose from a list: anything by its name, or a processor by its load."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from vmqtui.dialogs.request import RequestDialog
from vmqtui.link import Link
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.rows import CpuRow, QueueRow
from vmqtui.tasks.queues import move_queue
from vmqtui.tasks.task import Task, called
from vmqtui.widgets.table import LiveTable


class ChooseDialog(ModalScreen[int | None]):
    """Choose one of some lines; ends with its index, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Close", show=False)]

    def __init__(self, title: str, lines: Sequence[str], at: int = 0) -> None:
        super().__init__()
        self._title = title
        self._lines_to_choose = lines
        self._at = at

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._title
            yield OptionList(
                *(Option(Text(printable(line), no_wrap=True)) for line in self._lines_to_choose),
                id="choices",
                compact=True,
            )

    def on_mount(self) -> None:
        choices = self.query_one(OptionList)
        choices.highlighted = self._at
        choices.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)


class MoveDialog(RequestDialog):
    """Choose the processor that serves a queue, from a list with their loads as they are now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Move", show=False, priority=True),
        Binding("down", "cursor(1)", "Down", show=False, priority=True),
        Binding("up", "cursor(-1)", "Up", show=False, priority=True),
    ]

    def __init__(self, link: Link, host: str, row: QueueRow, model: Model) -> None:
        self._row = row
        self._model = model
        of = f" of {printable(row.adapter)}" if len(model.snapshot.adapter_names) > 1 else ""
        self._cpus = LiveTable("cpus", widget_id="move-cpus", without=("core", "trend"))
        super().__init__(
            link,
            host,
            Task(
                f"Move {called(row)}{of}",
                f"Now on processor {printable(str(row.processor))}, {compact(row.pps)} pkt/s."
                " Choose the one that shall serve it; no frame is lost or reordered.",
                "Move (⏎)",
                lambda values: [] if self._chosen() == row.cpu else [move_queue(row, self._chosen())],
            ),
        )

    def compose_body(self) -> ComposeResult:
        yield self._cpus

    def on_mount(self) -> None:
        room = max(4, self.app.size.height - 14)
        self._cpus.styles.height = min(12, room, len(self._model.snapshot.cpus) + 1)
        self.draw()
        rows = self._cpus.rows
        here = next(
            (index for index, row in enumerate(rows) if isinstance(row, CpuRow) and row.cpu == self._row.cpu),
            0,
        )
        self._cpus.move_to(here)
        self._cpus.focus()

    def _chosen(self) -> int:
        row = self._cpus.row
        return row.cpu if isinstance(row, CpuRow) else 0

    def draw(self) -> None:
        """Show the loads as they are now."""
        self._cpus.show(self._model.snapshot.cpus, series=self._model.series)
        self._preview()

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self.refused = False
        self._preview()

    def on_live_table_chosen(self, event: LiveTable.Chosen) -> None:
        self.submit()

    def _preview(self) -> None:
        """What is known of the change before it is made."""
        row = self._cpus.row
        if not isinstance(row, CpuRow) or self.waiting or self.refused:
            return
        if row.cpu == self._row.cpu:
            self.preview.clear()
            self.say("it is served there now", "dim")
        else:
            self.preview.ask([move_queue(self._row, row.cpu)])
            self.say(
                f"{printable(f'{self._row.processor} → {row.processor}')}, now at {percent(row.load)}"
                f" with {len(row.queues)} queue{'' if len(row.queues) == 1 else 's'}",
                "accent",
            )

    def action_cursor(self, step: int) -> None:
        """Move the cursor of the list, whatever has the focus."""
        self.call_later(self._cpus.action_cursor, step)  # after the list is there

    def action_submit(self) -> None:
        """Move the queue, unless Cancel has the focus."""
        self.call_later(self._decide)

    def _decide(self) -> None:
        if self.focused is not None and self.focused.id == "cancel":
            self.action_close()
        elif self._chosen() == self._row.cpu:
            self.dismiss(None)
        else:
            self.submit()


class TextDialog(ModalScreen[None]):
    """Text to read, and to scroll where it is long; ``make`` writes it anew at every drawing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss", "Close", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("pagedown,space", "scroll(10)", "Page down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
    ]

    def __init__(self, title: str, make: Callable[[], RenderableType]) -> None:
        super().__init__()
        self._title = title
        self._make = make

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes="wide") as dialog:
            dialog.border_title = printable(self._title).replace("[", r"\[")
            dialog.border_subtitle = "esc closes"
            dialog.can_focus = True
            yield Static(self._make(), id="text")

    def draw(self) -> None:
        """Show the text as it is now."""
        self.query_one("#text", Static).update(self._make())

    def action_scroll(self, lines: int) -> None:
        """Scroll by so many lines."""
        self.query_one("#dialog").scroll_relative(y=lines, animate=False)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()
