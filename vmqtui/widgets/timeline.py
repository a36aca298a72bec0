"""The line that says that what is seen is not now: which moment it is, and where between the ends."""

from datetime import UTC, datetime

from textual import events
from textual.message import Message

from vmqtui.draw import Line, clip, width_of
from vmqtui.numbers import UNKNOWN, clock
from vmqtui.state.model import Model
from vmqtui.state.moment import Where
from vmqtui.widgets.canvas import Canvas

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
    """Seen only while a moment is held or played; a click or a drag goes to another."""

    DEFAULT_CSS = "Timeline { height: 1; display: none; } Timeline.-past { display: block; }"

    class Scrubbed(Message):
        """A place between the ends was pointed at, 0..1."""

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
    """Which moment it is, and how far from the end (live) or the beginning (a recording)."""
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
