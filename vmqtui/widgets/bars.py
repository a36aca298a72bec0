"""Lines that are visible on demand: the filter input, the command line, and the timeline of the past."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Label, Static

from vmqtui.actions.commands import COMMAND_LIMIT, Completion
from vmqtui.columns.arrange import LIMIT
from vmqtui.draw import Line, clip, width_of
from vmqtui.numbers import UNKNOWN, clock
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.moment import Where
from vmqtui.widgets.canvas import Canvas, palette_of

COMMANDS_KEPT: Final = 100
"""Most commands to go back to with ↑; older ones are forgotten."""
_COMPLETIONS_LISTED = 8


class InputBar(Horizontal):
    """An input above the key bar, hidden until it is opened, with words beside it; Esc leaves it."""

    DEFAULT_CSS: ClassVar[str] = """
    InputBar { height: 1; display: none; }
    InputBar.-open { display: block; }
    InputBar Label { width: 3; }
    InputBar Input { width: 1fr; }
    InputBar Static { width: auto; max-width: 70%; padding: 0 1; }
    InputBar Static { text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False, priority=True),
        Binding("up", "step(-1)", "Up", show=False, priority=True),
        Binding("down", "step(1)", "Down", show=False, priority=True),
    ]

    def __init__(
        self, name: str, sign: str, placeholder: str, limit: int, suggester: Suggester | None = None
    ) -> None:
        super().__init__(id=f"{name}-bar")
        self._sign = sign
        self._input = Input(
            placeholder=placeholder,
            compact=True,
            max_length=limit,
            id=f"{name}-input",
            suggester=suggester,
        )
        self._words = Static("", id=f"{name}-words")
        self._said: Text | None = None

    def compose(self) -> ComposeResult:
        yield Label(f" {self._sign} ")
        yield self._input
        yield self._words

    @property
    def open(self) -> bool:
        """Whether the input is visible."""
        return self.has_class("-open")

    def show(self, text: str) -> None:
        """Open the input with a text. It takes the focus at once, so that type-ahead goes into it."""
        self.write(text)
        self.add_class("-open")
        self.screen.set_focus(self._input)

    def write(self, text: str) -> None:
        """Replace the text; the cursor goes to its end."""
        self._input.value = text
        self._input.cursor_position = len(text)

    def say(self, words: str, role: str = "dim") -> None:
        """Show words beside the input."""
        text = Text(printable(words), palette_of(self).style(role), no_wrap=True)
        if text != self._said or text.style != self._said.style:
            self._said = text
            self._words.update(text)

    def close(self) -> None:
        """Hide the input."""
        self.remove_class("-open")

    def action_leave(self) -> None:
        """Ask to close the input."""
        raise NotImplementedError

    def action_step(self, step: int) -> None:
        """Carry out ↑ (-1) or ↓ (1)."""
        raise NotImplementedError


class FilterBar(InputBar):
    """The input of a filter. Enter keeps it, Esc drops it; ↑ ↓ move the table's cursor."""

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
        super().__init__("filter", "/", "words, vm:web, ~^web, drops>0, load>80%, !state:running", LIMIT)

    def begin(self, text: str, more: str = "") -> None:
        """Open the input with a filter, which typing replaces, or with ``more`` after it, which typing
        continues."""
        self._input.select_on_focus = not more
        self.show(f"{text} {more}".strip())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.open:
            self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Closed(True))

    def action_leave(self) -> None:
        """Ask to close the input and to drop the filter."""
        self.post_message(self.Closed(False))

    def action_step(self, step: int) -> None:
        """Ask to move the table's cursor by ``step`` rows."""
        self.post_message(self.Moved(step))


class _Completing(Suggester):
    """Proposes the first completion of a command."""

    def __init__(self, complete: Callable[[str], Sequence[Completion]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        return next((one.line for one in self._complete(value)), None)


class CommandBar(InputBar):
    """The command line: Tab completes, ↑ ↓ go through earlier commands, Esc leaves.

    ``complete`` returns the completions of a command, ``usage`` a sentence on one.
    """

    DEFAULT_CSS: ClassVar[str] = """
    CommandBar Input { min-width: 24; }
    CommandBar Static { max-width: 65%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", show=False, priority=True),
    ]

    class Given(Message):
        """Posted when a command is entered."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """Posted when the command line is left without a command."""

    def __init__(self, complete: Callable[[str], Sequence[Completion]], usage: Callable[[str], str]) -> None:
        super().__init__(
            "command",
            ":",
            "move web-01 3, view queues, theme mono, search drops>0",
            COMMAND_LIMIT,
            _Completing(complete),
        )
        self._complete, self._usage = complete, usage
        self._kept: deque[str] = deque(maxlen=COMMANDS_KEPT)
        self._at = 0

    def begin(self) -> None:
        """Open the input, empty."""
        self._at = len(self._kept)
        self.say("⏎ runs it, Tab completes, Esc leaves")
        self.show("")

    def keep(self, text: str) -> None:
        """Remember a command for ↑."""
        if not self._kept or self._kept[-1] != text:
            self._kept.append(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if not self.open:
            return
        found = self._complete(event.value) if event.value else []
        self.say("  ".join(one.word for one in found[:_COMPLETIONS_LISTED]) or self._usage(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Given(event.value) if event.value.strip() else self.Left())

    def action_leave(self) -> None:
        """Ask to close the input."""
        self.post_message(self.Left())

    def action_complete(self) -> None:
        """Take the completion that is proposed."""
        value = self._input.value
        found = self._complete(value) if value else []
        if found:
            self.write(found[0].line)

    def action_step(self, step: int) -> None:
        """Show the command ``step`` places on in those given before; after the last an empty one."""
        self._at = max(0, min(self._at + step, len(self._kept)))
        self.write(self._kept[self._at] if self._at < len(self._kept) else "")


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
        go: Line = [("  Space", "accent"), (f" {where.on_space} ", "dim")]
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
