"""Dialogs that choose from a list: anything by its name, or a processor by its load."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.counted import counted
from vmqtui.dialogs.dialog import Dialog
from vmqtui.dialogs.request import RequestDialog
from vmqtui.link import Link
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.rows import CpuRow, QueueRow
from vmqtui.tasks.queues import move_queue
from vmqtui.tasks.task import Task, called
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


class MoveDialog(RequestDialog):
    """Choose the processor that serves a queue, from a list with their loads as they are now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # None before the others, so that keys which arrive together keep their order.
        Binding("enter", "submit", "Move", show=False),
        Binding("down", "cursor(1)", "Down", show=False),
        Binding("up", "cursor(-1)", "Up", show=False),
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
                lambda values: [] if (cpu := self._chosen()) in (None, row.cpu) else [move_queue(row, cpu)],
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

    def _chosen(self) -> int | None:
        """The processor under the cursor; None before the list is there."""
        row = self._cpus.row
        return row.cpu if isinstance(row, CpuRow) else None

    def draw(self) -> None:
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
        if not isinstance(row, CpuRow) or self.ended or self.submission.under_way or self.refused:
            return
        if row.cpu == self._row.cpu:
            self.preview.clear()
            self.say("it is served there now", "dim")
        else:
            self.preview.ask([move_queue(self._row, row.cpu)])
            self.say(
                f"{printable(f'{self._row.processor} → {row.processor}')}, now at {percent(row.load)}"
                f" with {counted(len(row.queues), 'queue')}",
                "accent",
            )

    def action_cursor(self, step: int) -> None:
        """Move the cursor of the list, whatever has the focus."""
        self.call_later(self._cpus.action_cursor, step)  # after the list is there

    def action_submit(self) -> None:
        """Move the queue."""
        self.call_later(self._decide)

    def _decide(self) -> None:
        if self._chosen() == self._row.cpu:
            self.action_close()
        else:
            self.submit()


class TextDialog(Dialog[None]):
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
        self._text = Static(id="text")
        self._box = Vertical(self._text, id="dialog", classes="wide")

    def compose(self) -> ComposeResult:
        self._box.border_title = printable(self._title).replace("[", r"\[")
        self._box.border_subtitle = "esc closes"
        self._box.can_focus = True
        self.draw()
        yield self._box

    def draw(self) -> None:
        self._text.update(self._make())

    def action_scroll(self, lines: int) -> None:
        """Scroll by so many lines."""
        self._box.scroll_relative(y=lines, animate=False)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()
