"""Dialogs that end with a choice: from a list, an action, a processor by its load, a host, a time."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from engine.counted import counted
from engine.view.rows import CpuView, QueueView
from vmqtui.dialogs.dialog import Dialog
from vmqtui.dialogs.request import RequestDialog
from vmqtui.link import Link
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable
from vmqtui.state.hosts import Hosts
from vmqtui.state.model import Model
from vmqtui.state.rows import HostRow
from vmqtui.state.when import FITS, ends, read_when
from vmqtui.tasks.queues import move_queue
from vmqtui.tasks.task import Task, called
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


class MoveDialog(RequestDialog):
    """Choose the processor that serves a queue, from a list with their loads as they are now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # None before the others, so that keys which arrive together keep their order.
        Binding("enter", "submit", "Move", show=False),
        Binding("down", "cursor(1)", "Down", show=False),
        Binding("up", "cursor(-1)", "Up", show=False),
    ]

    def __init__(self, link: Link, host: str, row: QueueView, model: Model) -> None:
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
            (
                index
                for index, row in enumerate(rows)
                if isinstance(row, CpuView) and row.cpu == self._row.cpu
            ),
            0,
        )
        self._cpus.move_to(here)
        self._cpus.focus()

    def _chosen(self) -> int | None:
        """The processor under the cursor; None before the list is there."""
        row = self._cpus.row
        return row.cpu if isinstance(row, CpuView) else None

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
        if not isinstance(row, CpuView) or self.ended or self.submission.under_way or self.refused:
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
