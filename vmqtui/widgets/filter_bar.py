"""The line in which a filter is typed; it works while it is being typed."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static

from vmqtui.columns.arrange import LIMIT
from vmqtui.printable import printable
from vmqtui.widgets.canvas import palette_of


class FilterBar(Horizontal):
    """Above the key bar while a filter is typed. Enter keeps it, Esc drops it; arrows move in the table."""

    DEFAULT_CSS = """
    FilterBar { height: 1; display: none; }
    FilterBar.-open { display: block; }
    FilterBar Label { width: 3; }
    FilterBar Input { width: 1fr; }
    FilterBar Static { width: auto; max-width: 70%; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close(False)", "Drop the filter", show=False, priority=True),
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
    ]

    class Changed(Message):
        """Another filter stands there."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """It is done with: the filter is kept, or dropped."""

        def __init__(self, kept: bool) -> None:
            super().__init__()
            self.kept = kept

    class Moved(Message):
        """The cursor of the table shall move by so many rows."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self) -> None:
        super().__init__(id="filter-bar")
        self._input = Input(
            placeholder="words, vm:web, drops>0, load>80%, !state:running",
            compact=True,
            max_length=LIMIT,
            id="filter-input",
        )
        self._words = Static("", id="filter-words")
        self._said: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        yield Label(" / ")
        yield self._input
        yield self._words

    @property
    def open(self) -> bool:
        """Whether it is there."""
        return self.has_class("-open")

    def begin(self, text: str) -> None:
        """Open it over a filter. It has the focus at once, so that keys typed ahead are not commands."""
        self._input.value = text
        self._input.cursor_position = len(text)
        self.add_class("-open")
        self.screen.set_focus(self._input)

    def say(self, words: str, role: str = "dim") -> None:
        """What the filter found, or what could not be used of it."""
        if self._said != (words, role):
            self._said = (words, role)
            self._words.update(Text(printable(words), palette_of(self).style(role), no_wrap=True))

    def close(self) -> None:
        """Put it away."""
        self.remove_class("-open")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.open:
            self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Closed(True))

    def action_close(self, kept: bool) -> None:
        """End it."""
        self.post_message(self.Closed(kept))

    def action_move(self, step: int) -> None:
        """Move the table's cursor."""
        self.post_message(self.Moved(step))
