"""Lines that are visible on demand: the filter input, and the timeline of the past."""

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static

from vmqtui.columns.arrange import LIMIT
from vmqtui.draw import Line, clip, width_of
from vmqtui.numbers import UNKNOWN, clock
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.moment import Where
from vmqtui.widgets.canvas import Canvas, palette_of


class FilterBar(Horizontal):
    """The input of a filter, above the key bar. Enter keeps it, Esc drops it; ↑ ↓ move the table's cursor."""

    DEFAULT_CSS: ClassVar[str] = """
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
        """Posted when the filter's text changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """Posted when the input closes; ``kept``: whether the filter stays."""

        def __init__(self, kept: bool) -> None:
            super().__init__()
            self.kept = kept

    class Moved(Message):
        """Posted to move the table's cursor by ``step`` rows."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self) -> None:
        super().__init__(id="filter-bar")
        self._input = Input(
            placeholder="words, vm:web, ~^web, drops>0, load>80%, !state:running",
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
        """Whether the input is visible."""
        return self.has_class("-open")

    def begin(self, text: str, more: str = "") -> None:
        """Open the input with a filter, which typing replaces, or with ``more`` after it, which typing
        continues. It takes the focus at once, so that type-ahead goes into it."""
        text = f"{text} {more}".strip()
        self._input.value = text
        self._input.select_on_focus = not more
        self._input.cursor_position = len(text)
        self.add_class("-open")
        self.screen.set_focus(self._input)

    def say(self, words: str, role: str = "dim") -> None:
        """Show the result of the filter, or its error, beside the input."""
        if self._said != (words, role):
            self._said = (words, role)
            self._words.update(Text(printable(words), palette_of(self).style(role), no_wrap=True))

    def close(self) -> None:
        """Hide the input."""
        self.remove_class("-open")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.open:
            self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Closed(True))

    def action_close(self, kept: bool) -> None:
        """Ask to close the input; ``kept``: whether the filter stays."""
        self.post_message(self.Closed(kept))

    def action_move(self, step: int) -> None:
        """Ask to move the table's cursor by ``step`` rows."""
        self.post_message(self.Moved(step))


_LEAST_BAR = 12
_STEPS: Line = [
    ("  ,", "accent"),
    (" ", "dim"),
    (".", "accent"),
    (" step  ", "dim"),
    ("<", "accent"),
    (" ", "dim"),
    (">", "accent"),
    (" 10 s", "dim"),
]
_AT: Line = [("  @", "accent"), (" time", "dim")]
_SPEED: Line = [("  (", "accent"), (" ", "dim"), (")", "accent"), (" speed", "dim")]


class Timeline(Canvas):
    """A scrubber over the past, visible while it is held or replayed; a click or drag seeks."""

    DEFAULT_CSS: ClassVar[str] = "Timeline { height: 1; display: none; } Timeline.-past { display: block; }"

    class Scrubbed(Message):
        """Posted when the mouse seeks; ``fraction`` is 0 at the start and 1 at the end."""

        def __init__(self, fraction: float) -> None:
            super().__init__()
            self.fraction = fraction

    def __init__(self, model: Model) -> None:
        super().__init__("timeline")
        self._model = model
        self._bar = (0, 1)
        self._dragging = False

    def paint(self, width: int, height: int) -> list[Line]:
        where = self._model.past
        if where is None:
            return []
        live = self._model.live()
        end: Line = [(" end" if where.recorded else " now", "dim")]
        if not where.recorded and live.state != "live":
            end.append((f" {live.state}", "warn"))
        go_on = " hold " if where.playing else " play " if where.recorded else " now "
        go: Line = [("  Space", "accent"), (go_on, "dim")]
        more: Line = [*_STEPS, *_AT, *(_SPEED if where.recorded else [])]
        for right, day in (
            ([*end, *more, *go], True),
            ([*end, *_STEPS, *go], True),
            ([*end, *go], True),
            ([*end, *go], False),
        ):
            left = _moment(where, day=day)
            if width - width_of(left) - width_of(right) >= 2 * _LEAST_BAR:
                break
        room = max(_LEAST_BAR, width - width_of(left) - width_of(right) - 3)
        at = round(where.fraction * (room - 1))
        self._bar = (width_of(left) + 2, room)
        bar: Line = [
            ("  ", "text"),
            ("━" * at, "warn"),
            ("●", "warn"),
            ("─" * (room - 1 - at), "dim"),
        ]
        return [clip([*left, *bar, *right], width)]

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragging = True
        self.capture_mouse()
        self._point(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragging:
            self._point(event.x)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self._dragging = False
        self.release_mouse()

    def _point(self, x: int) -> None:
        first, length = self._bar
        self.post_message(self.Scrubbed(min(1.0, max(0.0, (x - first) / max(1, length - 1)))))


def _moment(where: Where, *, day: bool) -> Line:
    """Return the moment, and its distance from the end (live) or the start (recording)."""
    try:
        at = datetime.fromtimestamp(where.time_ns / 1e9, UTC)
    except (OverflowError, OSError, ValueError):
        date, time = "", UNKNOWN
    else:
        date, time = f"{at:%Y-%m-%d} ", f"{at:%H:%M:%S}.{at.microsecond // 100_000}"
    line: Line = [(" ▶ RECORDING " if where.playing else " ‖ PAST ", "!warn"), ("  ", "text")]
    if where.recorded:
        if not where.playing:
            line[0] = (" ‖ RECORDING ", "!warn")
        line.append((date if day else "", "dim"))
    line += [(time, "strong"), (" UTC  ", "dim")]
    if where.recorded:
        line += [
            (clock(max(0, where.time_ns - where.first_ns)), "text"),
            (f" of {clock(max(0, where.last_ns - where.first_ns))}", "dim"),
        ]
        if where.speed != 1:
            line.append((f" ×{where.speed:g}", "text"))
    else:
        line += [(clock(max(0, where.last_ns - where.time_ns)), "warn"), (" ago", "dim")]
    return line
