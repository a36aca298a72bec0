"""A widget that draws lines of (text, role) spans, and redraws only lines that changed."""

from collections.abc import Sequence
from typing import ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from vmqtui.draw import Line
from vmqtui.printable import shown
from vmqtui.theme import Palette, Themed


def palette_of(widget: Widget) -> Palette:
    """Return the palette of the widget's app."""
    return cast("Themed", widget.app).palette


def strip_of(line: Sequence[tuple[str, str]], palette: Palette, base: Style, width: int) -> Strip:
    """Convert a line to a Textual strip, exactly ``width`` cells wide."""
    style = palette.style
    strip = Strip([Segment(shown(text), base + style(role)) for text, role in line])
    return strip.adjust_cell_length(width, base)


class Canvas(Widget):
    """Base of widgets that paint text. Subclasses override ``paint``; ``repaint`` calls it."""

    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._lines: list[Line] = []

    def paint(self, width: int, height: int) -> list[Line]:
        """Return up to ``height`` lines of up to ``width`` cells."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Call ``paint``, and redraw the lines that differ."""
        width, height = self.size
        if not width or not height:
            return
        old, self._lines = self._lines, self.paint(width, height)
        if len(old) != len(self._lines):
            self.refresh()
            return
        for y, (before, now) in enumerate(zip(old, self._lines, strict=True)):
            if before != now:
                self.refresh(Region(0, y, width, 1))

    def on_resize(self, event: events.Resize) -> None:
        self.repaint()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        line = self._lines[y] if y < len(self._lines) else []
        return strip_of(line, palette_of(self), base, self.size.width)
