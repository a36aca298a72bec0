"""Going to a time that is typed."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, Static

from vmqtui.dialogs.dialog import Dialog
from vmqtui.state.when import FITS, ends, read_when
from vmqtui.widgets.canvas import palette_of


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
