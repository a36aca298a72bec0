"""The fields of a form: text line, choice, multi-line text, each with a mark; or the rows of a table."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.reactive import reactive
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label, Static, TextArea

from vmqtui.printable import is_plain
from vmqtui.state.rows import Row
from vmqtui.tasks.task import Field, RowChoices
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.table import LiveTable

_MOST_CHARACTERS = 300


class Choice(Static, can_focus=True):
    """A choice of one word: right, space or a click selects the next, left the previous."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "turn(1)", "Next", show=False),
        Binding("left", "turn(-1)", "Previous", show=False),
    ]
    value: reactive[str] = reactive("")

    class Changed(Message):
        """Posted when the chosen word changes."""

    class Submitted(Message):
        """Posted when Enter is pressed."""

    def __init__(self, words: tuple[str, ...], value: str, widget_id: str) -> None:
        super().__init__(id=widget_id)
        self._words = words
        self.set_reactive(Choice.value, value)

    def render(self) -> Text:
        return Text(f"‹ {self.value} ›")

    def watch_value(self) -> None:
        self.post_message(self.Changed())

    def action_turn(self, step: int) -> None:
        """Choose the word ``step`` places further, wrapping around."""
        at = self._words.index(self.value) if self.value in self._words else -step
        self.value = self._words[(at + step) % len(self._words)]

    def on_click(self) -> None:
        if not self.disabled:
            self.action_turn(1)

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            self.post_message(self.Submitted())


Editor = Input | Choice | TextArea


class FieldLine(Horizontal):
    """A field of a form: its label, its editor, and a mark that shows whether the value is valid."""

    def __init__(self, field: Field) -> None:
        super().__init__(classes="field text" if field.several_lines else "field")
        self.field = field
        name = f"field-{field.key}"
        self.editor: Editor
        if field.choices:
            self.editor = Choice(field.choices, field.value, name)
        elif field.several_lines:
            self.editor = TextArea(field.value, id=name, compact=True, tab_behavior="focus")
        else:
            known = [one for one in field.known if is_plain(one) and len(one) <= _MOST_CHARACTERS]
            self.editor = Input(
                field.value,
                placeholder=field.hint,
                id=name,
                compact=True,
                max_length=_MOST_CHARACTERS,
                suggester=SuggestFromList(known, case_sensitive=False) if known else None,
            )
        self._mark = Static("", id=f"mark-{field.key}", classes="mark")

    def compose(self) -> ComposeResult:
        if self.field.label:
            yield Label(Text(self.field.label), classes="label")
        yield self.editor
        yield self._mark

    @property
    def text(self) -> str:
        """The current text, without surrounding blanks unless it is multi-line."""
        if isinstance(self.editor, TextArea):
            return self.editor.text
        return self.editor.value.strip()

    def mark(self, glyph: str, role: str) -> None:
        """Show ``glyph`` as the mark, in the colour of ``role``."""
        self._mark.update(Text(glyph, palette_of(self).style(role)))


class RowField(LiveTable):
    """A field whose value is the row under the cursor of a live table."""

    def __init__(self, field: Field, choices: RowChoices) -> None:
        super().__init__(choices.table, widget_id=f"field-{field.key}", without=choices.without)
        self.field = field
        self._choices = choices
        self.given: Sequence[Row] = ()
        """The rows as they were last drawn."""

    @property
    def editor(self) -> LiveTable:
        """The table itself."""
        return self

    @property
    def text(self) -> str:
        """The value of the row under the cursor; "" before there are rows."""
        return self._choices.value(self.row) if self.row is not None else ""

    def begin(self) -> None:
        """Show the rows, with the cursor on the value to begin at."""
        room = max(4, self.app.size.height - self._choices.lines_beside)
        self.styles.height = min(12, room, len(self._choices.rows()) + 1)
        self.draw()
        values = [self._choices.value(row) for row in self.rows]
        first = self._choices.first or self.field.value
        self.move_to(values.index(first) if first in values else 0)
        self.focus()

    def draw(self) -> None:
        """Show the current rows."""
        self.given = self._choices.rows()
        self.show(self.given)

    def mark(self, glyph: str, role: str) -> None:
        """Does nothing: every row is valid."""
