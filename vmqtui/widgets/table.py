"""The live table. It draws its own lines, because Textual's DataTable costs ten times as much."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.counted import counted
from engine.telemetry.stats import Source
from vmqtui.actions import CURSOR
from vmqtui.columns import Column, columns_of
from vmqtui.columns.arrange import OWN_ORDER, Arranged, Steady, SteadyOrder, arrange
from vmqtui.columns.layout import Fitting, Layout
from vmqtui.columns.sources import NOTHING_SAID, marked, sources_of
from vmqtui.draw import Line, Span, bands, bar, cells_of, fit, join, points_of, trend
from vmqtui.numbers import UNKNOWN
from vmqtui.printable import printable, shown
from vmqtui.state.choices import AS_IT_COMES, TableChoice
from vmqtui.state.rows import Row
from vmqtui.theme import Palette
from vmqtui.widgets.canvas import palette_of

_MOST_KEPT = 4096
"""Most rows whose settled cells are cached."""
_MARK = "◆"
"""The sign of a marked row, before its columns: where that of the cursor is, whose row has its own ground."""
ELSEWHERE: Final = "elsewhere"
"""Why a column is hidden that another part of the view shows."""
Series = Callable[[Hashable, int], Sequence[float | None]]


class _Styles(dict[str, Style]):
    """Styles by role on one background, built on demand; "" is the background itself."""

    def __init__(self, palette: Palette, base: Style) -> None:
        super().__init__({"": base})
        self._palette = palette

    def __missing__(self, role: str) -> Style:
        style = self[role] = self[""] + self._palette.style(role)
        return style


class LiveTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of one table of the column registry, under a fixed heading.

    The cursor follows its row by identity when rows come, go or change places. A table that shows its first
    row goes on doing so if the cursor's row still fits; else it scrolls to keep that on the same line of the
    screen if possible. Columns that don't fit are left out by priority. Only changed lines are
    redrawn.
    """

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS: ClassVar[str] = """
    LiveTable { scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto; }
    """
    virtual_size: Reactive[Size]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.key, action.does, action.title, show=False) for action in CURSOR
    ]

    class Moved(Message):
        """Posted when the cursor moves to another row, or loses its row."""

    class HeadingClicked(Message):
        """Posted when the heading of a column is clicked."""

        def __init__(self, table: "LiveTable", column: Column[Any]) -> None:
            super().__init__()
            self.table = table
            self.column = column

    class Chosen(Message):
        """Posted when a row is double-clicked."""

    def __init__(
        self,
        table: str,
        *,
        widget_id: str | None = None,
        without: Sequence[str] = (),
        empty: str = "nothing here",
    ) -> None:
        super().__init__(id=widget_id)
        self.table = table
        self._without = dict.fromkeys(without, ELSEWHERE)
        self.empty = empty
        """Text for a table without rows."""
        self.faithful = False
        """If true, no row is selected once the cursor's row is gone, until it moves; else the next one is."""
        self._strayed = False
        self._rows: list[Row] = []
        self.arranged: Arranged = Arranged([], 0)
        self._order = SteadyOrder()
        self._series: Series = lambda key, count: []
        self._choice = AS_IT_COMES
        self._deltas = False
        self.why_hidden: Mapping[str, str] = {}
        """Why columns are hidden that the user did not hide, by key."""
        self.unknown: frozenset[str] = frozenset()
        """Keys of columns that are hidden because nothing is known of them."""
        self._row_marks: Collection[Hashable] = ()
        self._titles: Mapping[str, str] = {}
        """Headings with the mark of a source, by the key of their column."""
        self._cursor = 0
        self._pinned: Hashable = None
        self._fitting = Fitting()
        self._drawn: dict[int, tuple[bool, Line]] = {}
        self._strips: dict[int, Strip] = {}
        self._kept: dict[Hashable, tuple[object, list[Span]]] = {}
        self._styles: dict[str, _Styles] = {}

    @property
    def rows(self) -> Sequence[Row]:
        """The rows in their current order."""
        return self._rows

    @property
    def row(self) -> Row | None:
        """The row under the cursor, if any."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) and not self._strayed else None

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        """All columns of the table, whether or not they are shown."""
        return columns_of(self.table, self._deltas)

    @property
    def choice(self) -> TableChoice:
        """The user's choice of filter, order and columns."""
        return self._choice

    @property
    def shown_columns(self) -> list[Column[Any]]:
        """The columns that are shown."""
        return [column for column, _ in self._fit_columns().columns]

    @property
    def chosen_columns(self) -> list[Column[Any]]:
        """The exportable columns that the user did not hide, whether or not they are shown."""
        never = self._choice.never
        return [column for column in self.columns if column.exported and column.key not in never]

    def show(
        self,
        rows: Sequence[Row],
        *,
        choice: TableChoice = AS_IT_COMES,
        series: Series | None = None,
        hidden: Mapping[str, str] = MappingProxyType({}),
        deltas: bool = False,
        steady: Steady | None = None,
        counters: Mapping[str, Source] = NOTHING_SAID,
        unknown: frozenset[str] = frozenset(),
        marks: Collection[Hashable] = (),
    ) -> Arranged:
        """Show the rows with the filter, order and columns of ``choice``; ``steady`` rows decide on rates.

        ``counters`` says how each counter of a measured host is known; columns in ``unknown``, of which it
        knows nothing, are hidden, and those of ``hidden``, which says why. ``marks`` has the identities of
        marked rows.
        """
        self._row_marks = marks
        wanted_otherwise = choice != self._choice
        self._choice, self._deltas = choice, deltas
        self.why_hidden = {**dict.fromkeys(unknown, "unknown"), **self._without, **hidden}
        self.unknown = unknown
        if series is not None:
            self._series = series
        sources = sources_of(self.columns, counters)
        self._titles = {
            column.key: marked(column, column.title, sources[column.key])
            for column in self.columns
            if sources.get(column.key, "exact") != "exact"
        }
        arranged = self.arranged = arrange(
            rows, self.columns, choice, steady, self._order, OWN_ORDER.get(self.table)
        )
        self._rows = arranged.rows
        self._fitting.measure(self.columns, self._rows)
        top, size = self.scroll_offset.y, Size(self.size.width, len(self._rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size  # first, because it bounds how far the table can scroll
        self._follow(wanted_otherwise, top)
        self._redraw()
        return arranged

    def _place_of(self, identity: Hashable) -> int | None:
        """Return the index of a row; fast if the cursor is still on it."""
        rows = self._rows
        if self._cursor < len(rows) and rows[self._cursor].identity == identity:
            return self._cursor
        return next((at for at, row in enumerate(rows) if row.identity == identity), None)

    def _follow(self, wanted_otherwise: bool, top: int) -> None:
        """Keep the cursor on its row; of a table scrolled to ``top`` keep the first row in sight, or else the
        cursor's row on its line of the screen."""
        line = self._cursor - top
        at = self._place_of(self._pinned) if self._pinned is not None else None
        strayed, self._strayed = self._strayed, False
        if not self._rows and self.faithful:
            self._pinned = None
        if at is None and self._pinned is not None and self.faithful and not wanted_otherwise:
            self._strayed = True
            if not strayed:
                self.post_message(self.Moved())
        if at is None:
            at = max(0, min(self._cursor, len(self._rows) - 1))
        moved, self._cursor = at != self._cursor, at
        row = self.row
        if row is not None and row.identity != self._pinned:
            self._pinned = row.identity
            self.post_message(self.Moved())
        if moved and 0 <= line < self._page and (top or at >= self._page):
            self._scroll(max(0, at - line))

    def _scroll(self, top: int) -> None:
        """Make a row the first in sight, also before a scrollbar is laid out for new rows."""
        self.scroll_to(y=top, animate=False, immediate=True, force=True)

    @property
    def _page(self) -> int:
        """Rows that fit below the heading."""
        return max(1, self.size.height - 1)

    @property
    def _room(self) -> int:
        """Cells for the columns."""
        return self.scrollable_content_region.width - 2

    def _fit_columns(self) -> Layout:
        if self._fitting.fit(
            self.columns, self._room, frozenset(self.why_hidden), self._choice, self._titles
        ):
            self._kept.clear()
        return self._fitting.layout

    def move_to(self, index: int) -> None:
        """Put the cursor on a row, and scroll it into view."""
        if not self._rows:
            return
        index = max(0, min(index, len(self._rows) - 1))
        self._cursor, self._strayed = index, False
        if self._rows[index].identity != self._pinned:
            self._pinned = self._rows[index].identity
            self.post_message(self.Moved())
        top = self.scroll_offset.y
        if index < top:
            self._scroll(index)
        elif index >= top + self._page:
            self._scroll(index - self._page + 1)
        self._redraw()

    def find(self, identity: Hashable) -> bool:
        """Put the cursor on the row of an identity; return False if there is none."""
        at = self._place_of(identity)
        if at is not None:
            self.move_to(at)
        return at is not None

    def action_cursor(self, step: int) -> None:
        """Move the cursor by ``step`` rows."""
        self.move_to(self._cursor + (0 if self._strayed else step))

    def action_page(self, step: int) -> None:
        """Move the cursor by ``step`` pages."""
        self.move_to(self._cursor + step * self._page)

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is None:
            return
        if at.y == 0:
            column = self._column_at(at.x)
            if column is not None:
                self.post_message(self.HeadingClicked(self, column))
            return
        index = at.y - 1 + self.scroll_offset.y
        if index < len(self._rows):
            self.move_to(index)
            if event.chain == 2:
                self.post_message(self.Chosen())

    def _column_at(self, x: int) -> Column[Any] | None:
        left = 1
        layout = self._fit_columns()
        for column, width in layout.columns:
            if left - 1 <= x < left + width:
                return column
            left += width + layout.gap
        return None

    def column_under(self, at: Offset) -> Column[Any] | None:
        """Return the column at a place of the screen; None outside the table."""
        inside = self.content_region
        return self._column_at(at.x - inside.x) if inside.contains_point(at) else None

    def on_focus(self) -> None:
        self._forget()
        self.refresh()

    def on_blur(self) -> None:
        self._forget()
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        self._forget()
        self._redraw()
        self.refresh()

    def _line(self, y: int) -> tuple[bool, Line]:
        """Return whether the cursor is on a line of the screen, and the line's content."""
        if y == 0:
            return False, [(" ", "header"), *self._heading()]
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._rows):
            if self._rows or y != 2:
                return False, []
            nothing = f"nothing matches {self._choice.filter}" if self._choice.filter else self.empty
            if self._choice.filter and self.arranged.total:
                nothing += (
                    f": {counted(self.arranged.total, 'row is', 'rows are')} hidden; Esc drops the search"
                )
            return False, [(f"   {printable(nothing)}", "dim")]
        row = self._rows[index]
        sign = _MARK if row.identity in self._row_marks else " "
        return index == self._cursor and not self._strayed, [(sign, "accent"), *self._cells(row)]

    def _lines(self) -> dict[int, tuple[bool, Line]]:
        """Return every line of the screen; lay out again while a cell has outgrown its column."""
        while True:
            self._fit_columns()
            lines = {y: self._line(y) for y in range(self.size.height)}
            if not self._fitting.outgrown:
                return lines

    def _redraw(self) -> None:
        """Redraw the lines that differ from those on the screen."""
        if not self.is_attached or not self.size:
            return
        drawn, self._drawn = self._drawn, self._lines()
        changed = [y for y, line in self._drawn.items() if drawn.get(y) != line]
        for y in changed:
            self._strips.pop(y, None)
        if len(changed) > self.size.height // 2:
            self.refresh()
        else:
            width = self.size.width
            self.refresh(*(Region(0, y, width, 1) for y in changed)) if changed else None

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._forget()
            self._redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._forget()

    def _forget(self) -> None:
        """Drop the cached lines, because they would look different now."""
        self._drawn, self._strips, self._styles = {}, {}, {}

    def render_line(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None or strip.cell_length != self.size.width:
            strip = self._strips[y] = self._strip(y)
        return strip

    def _strip(self, y: int) -> Strip:
        """Return a line of the screen with its colours."""
        if y not in self._drawn:
            self._drawn[y] = self._line(y)
        on_cursor, line = self._drawn[y]
        ground = ("cursor" if self.has_focus else "cursor_idle") if on_cursor else ""
        styles = self._styles_on(ground)
        if ground == "cursor" and line[0][0] != _MARK:
            line = [("▌", "accent"), *line[1:]]
        segments = [Segment(shown(text), styles[role]) for text, role in line]
        return Strip(segments).adjust_cell_length(self.size.width, styles[""])

    def _styles_on(self, ground: str) -> "_Styles":
        """Return the styles by role on a background; cached, because building them is slow."""
        styles = self._styles.get(ground)
        if styles is None:
            palette, base = palette_of(self), self.rich_style
            if ground:
                base = base + palette.background(ground)
            styles = self._styles[ground] = _Styles(palette, base)
        return styles

    def _heading(self) -> Line:
        line: Line = []
        layout, sort = self._fit_columns(), self._choice.sort
        for column, width in layout.columns:
            title, space = self._titles.get(column.key, column.title), " " * layout.gap
            if len(title) > width:
                title = column.title
            if sort is None or sort[0] != column.key:
                line += [(fit(title, width, right=column.right), "header"), (space, "text")]
                continue
            arrow = "↓" if sort[1] else "↑"
            if len(title) < width:
                title = f"{arrow}{title}" if column.right else f"{title}{arrow}"
            else:  # in the gap, so that the title is not cut
                space = arrow + space[1:]
            line.append((fit(title, width, right=column.right) + space, "accent"))
        return line

    def _cells(self, row: Row) -> Line:
        line: Line = []
        layout = self._fitting.layout
        space = " " * layout.gap
        settled = self._settled(row, layout)
        for n, (column, width) in enumerate(layout.columns):
            if settled is not None and column.settled:
                line.append(settled[n])
                continue
            if column.gauge is not None:
                parts = column.gauge(row)
                if parts is None:
                    line.append((fit(UNKNOWN, width), "dim"))
                elif column.mark is not None:
                    told = [(part, glyph, role) for (part, role), glyph in zip(parts, "█▓", strict=False)]
                    line += bands(told, width, column.mark(row))
                else:
                    line += bar(parts, width)
            elif column.trend is not None:
                series = self._series(column.trend(row), points_of(width))
                line.append((trend(series, width, column.scale), "trend"))
            else:
                text, level = column.written(row)
                if (need := cells_of(text)) > width:
                    self._fitting.see(column, need)
                line.append((column.fitted(text, level, width) + space, level or "text"))
                continue
            line.append((space, "text"))
        return join(line)

    def _settled(self, row: Row, layout: Layout) -> list[Span] | None:
        """Return the cells of a row that depend only on its configuration; None if it has none."""
        config = getattr(row, "config", None)
        if config is None:
            return None
        kept = self._kept.get(row.identity)
        if kept is not None and kept[0] is config:
            return kept[1]
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        space = " " * layout.gap
        spans: list[Span] = []
        for column, width in layout.columns:
            text, level = column.cell(row, width) if column.settled else ("", "")
            spans.append((text + space, level or "text"))
        self._kept[row.identity] = (config, spans)
        return spans
