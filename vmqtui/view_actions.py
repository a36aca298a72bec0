"""Actions that send no request: sort, filter, columns, deltas, the shown moment, and writing files."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import platformdirs

from engine.counted import counted
from engine.files import put_in_place
from engine.view.rates import STEADY_NS
from vmqtui.actions.action import PANE_COLUMNS, VIEWS
from vmqtui.columns import name_of_table
from vmqtui.columns.arrange import LIMIT, sorted_by
from vmqtui.columns.column import Column
from vmqtui.columns.export import as_csv, as_line, as_lines, document
from vmqtui.columns.sources import sources_of
from vmqtui.controls import Controls
from vmqtui.dialogs.choose import ColumnsDialog, WhenDialog
from vmqtui.dialogs.dialog import open_dialog
from vmqtui.printable import as_json, printable
from vmqtui.state.choices import MOST_MARKED, PANE, TableChoice
from vmqtui.state.rows import Row
from vmqtui.tasks.batch import name_of
from vmqtui.widgets.bars import FilterBar, Timeline
from vmqtui.widgets.panels import ReasonChart
from vmqtui.widgets.queue_panels import QueueRates
from vmqtui.widgets.table import LiveTable

COPY_LIMIT_BYTES: Final = 64 << 10
"""Most bytes that are copied at once: several terminals drop a longer OSC 52 sequence without a word."""
_MOST_ALIKE: Final = 99
"""Maximum number of files with the same name and second."""


def exports_directory(chosen: str | None) -> Path:
    """The directory for exported files: the chosen one, or the user's data directory."""
    if chosen is not None:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("vmqtui", appauthor=False) / "exports"


def write_new(directory: Path, stem: str, suffix: str, text: str) -> Path:
    """Write a new file and return its path; an existing file is never overwritten. Raises ``OSError``."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", stem)[:128]
    for number in range(1, _MOST_ALIKE + 1):
        path = directory / f"{stem}{f'-{number}' if number > 1 else ''}.{suffix}"
        try:
            with path.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, "there are too many files of that name", str(directory / stem))


def put(path: Path, text: str) -> Path:
    """Write a file, in place of one that is there, and return its path. Raises ``OSError``."""
    with put_in_place(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
    return path


def without_outside(picture: str) -> str:
    """Textual's SVG without web fonts, so that a viewer of the picture loads nothing from the network."""
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return picture.replace("<text ", '<text xml:space="preserve" ')


def at_home(path: Path) -> str:
    """Return a path as text, with ~ for the user's home directory, so that it fits on a line."""
    with suppress(RuntimeError, ValueError):  # there is no home, or the path is elsewhere
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def _called(row: Row) -> str:
    return getattr(row, "label", None) or "the row"


class ViewActions(Controls):
    """A screen with tables to sort and filter, and a shown moment to pause and move."""

    _filter: FilterBar
    _filtered: LiveTable | None = None
    """The table whose filter is being typed."""
    exports: str | None = None
    """The directory for exported files; None: the user's data directory."""

    def _choose(self, table: LiveTable, **changes: object) -> None:
        self._model.choices.change(table.id, **changes)
        self.draw()

    def on_live_table_heading_clicked(self, event: LiveTable.HeadingClicked) -> None:
        sort = self._model.choices.of(event.table.id).sort
        self._choose(event.table, sort=sorted_by(event.column, sort))

    def _step_sort(self, step: int) -> None:
        table = self.view.table
        columns = [column for column in table.shown_columns if column.trend is None and column.title]
        if not columns:  # the table has no size yet
            return
        sort = self._model.choices.of(table.id).sort
        now = sort[0] if sort is not None else columns[0].key
        at = next((n for n, column in enumerate(columns) if column.key == now), -step)
        self._choose(table, sort=sorted_by(columns[(at + step) % len(columns)], None))

    def action_sort_next(self, column: Column[Any] | None = None) -> None:
        """Sort by the next column, or by ``column`` as a click on its heading does."""
        if column is None:
            self._step_sort(1)
        else:
            table = self.view.table
            self._choose(table, sort=sorted_by(column, self._model.choices.of(table.id).sort))

    def filter_by(self, text: str) -> None:
        """Filter the table, and say what of the filter can't be used."""
        table = self.view.table
        self._choose(table, filter=text[:LIMIT])
        if table.arranged.problem:
            self._tell(table.arranged.problem, "warning")

    def action_sort_previous(self) -> None:
        """Sort by the column before."""
        self._step_sort(-1)

    def action_reverse(self) -> None:
        """Turn the order around."""
        table = self.view.table
        sort = self._model.choices.of(table.id).sort
        if sort is None and table.shown_columns:
            sort = table.shown_columns[0].key, False
        if sort is not None:
            self._choose(table, sort=(sort[0], not sort[1]))

    def action_search_rows(self, more: str = "") -> None:
        """Type a search of the table's rows, after its present one and ``more``."""
        self._filtered = self.view.table
        self._filter.begin(self._model.choices.of(self._filtered.id).filter, more)
        self.say_filter()

    def say_filter(self) -> None:
        """Show the number of rows that match the filter being typed, or what is wrong with it."""
        if not self._filter.open or self._filtered is None:
            return
        arranged = self._filtered.arranged
        if arranged.problem:
            self._filter.say(arranged.problem, "warn")
        elif self._filtered.choice.filter:
            how = f" by rates over {STEADY_NS // 10**9} s" if arranged.of_rates else ""
            found = f"{len(arranged.rows):,} of {arranged.total:,}{how}"
            self._filter.say(f"{found}  ⏎ keeps it, Esc drops it")
        else:
            self._filter.say("⏎ done, Esc drops it")

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        if self._filtered is not None:
            self._choose(self._filtered, filter=event.text.strip())

    def on_filter_bar_moved(self, event: FilterBar.Moved) -> None:
        if self._filtered is not None:
            self._filtered.action_cursor(event.step)

    def on_filter_bar_closed(self, event: FilterBar.Closed) -> None:
        table, self._filtered = self._filtered, None
        self._filter.close()
        if table is not None:
            self.set_focus(table)
            if not event.kept:
                self._choose(table, filter="")

    def action_mark_row(self, step: int) -> None:
        """Mark the row under the cursor, or take its mark away, and go ``step`` rows further."""
        marks, table, kind = self._model.choices.marks, self.view.table, self._kind
        row = table.row
        if not kind or row is None:
            self._tell_nothing_is_marked()
            return
        if row.identity in marks.of(kind):
            marks.drop([row.identity])
        elif marks.set(kind, {row.identity: name_of(row)}):
            self._tell(f"no more than {MOST_MARKED:,} rows can be marked", "warning")
        table.action_cursor(step)
        self.draw()

    def action_mark_all(self) -> None:
        """Mark all shown rows; if they are marked, remove their marks."""
        marks, table, kind = self._model.choices.marks, self.view.table, self._kind
        if not kind or not table.rows:
            self._tell_nothing_is_marked()
            return
        shown = {row.identity: name_of(row) for row in table.rows}
        if shown.keys() <= marks.of(kind).keys():
            marks.drop(shown)
        elif left := marks.set(kind, shown):
            self._tell(f"no more than {MOST_MARKED:,} rows can be marked: {left:,} are not", "warning")
        self.draw()

    def _tell_nothing_is_marked(self) -> None:
        if self._kind:
            self._tell("no row is shown to be marked; other marks stay")
        else:
            self._tell("rows of queues and filters can be marked; Tab goes to the next panel")

    def action_back(self) -> None:
        """Remove the marks; without marks, clear the table's filter; without a filter, its sort order."""
        table = self.view.table
        choice = self._model.choices.of(table.id)
        if self._kind and self._model.choices.marks.clear(self._kind):
            self.draw()
        elif choice.filter:
            self._choose(table, filter="")
        elif choice.sort is not None:
            self._choose(table, sort=None)

    def end_filter(self) -> None:
        """Close the filter bar and keep the filter, before another view is shown."""
        self._filtered = None
        self._filter.close()

    def action_choose_columns(self) -> None:
        """Choose the columns of the table."""
        table = self.view.table

        def chosen(choice: TableChoice | None) -> None:
            if choice is not None:
                self._choose(
                    table,
                    always=choice.always,
                    never=choice.never,
                    sort=choice.sort,
                )

        open_dialog(self, ColumnsDialog(table, name_of_table(table.table)), chosen)

    def action_toggle_pane(self) -> None:
        """Put the detail pane away, or show it again."""
        width = self.app.size.width
        if width < PANE_COLUMNS:
            self._tell(f"the detail pane needs {PANE_COLUMNS} columns; this terminal has {width}")
            return
        choices = self._model.choices
        choices.set(PANE, not choices.setting(PANE))
        self.show_pane()
        self.draw()

    def show_pane(self) -> None:
        """Show the detail pane if that is chosen; the style sheet says from which width on."""
        self.set_class(self._model.choices.setting(PANE), "-detailed")

    def action_toggle_deltas(self) -> None:
        """Show counters since the last reset, or in total."""
        self._model.choices.deltas = not self._model.choices.deltas
        self.draw()

    def action_reset_deltas(self) -> None:
        """Show counters since now."""
        self._model.choices.deltas = True
        self._model.reset_deltas()
        self.draw()

    def _went(self, done: bool) -> None:
        if done:
            self.draw()
        else:
            self._tell("there is no reading yet")

    def action_pause(self) -> None:
        """Pause at the shown moment, or resume."""
        self._went(self._model.pause())

    def action_step(self, by: int) -> None:
        """Show the reading ``by`` places after this one (before it if negative)."""
        self._went(self._model.step(by))

    def action_skip(self, seconds: int) -> None:
        """Show the moment ``seconds`` later (earlier if negative)."""
        self._went(self._model.skip(seconds))

    def action_go_to_time(self, time_ns: int | None = None) -> None:
        """Show the moment at a Unix time in ns, or at one that the user types."""
        if time_ns is not None:
            self._went(self._model.go_to(time_ns))
            return
        reach = self._model.reach()
        if reach is None:
            self._went(False)
            return

        def typed(time_ns: int | None) -> None:
            if time_ns is not None:
                self._went(self._model.go_to(time_ns))

        open_dialog(self, WhenDialog(reach), typed)

    def action_change_speed(self, step: int) -> None:
        """Play a recording faster, or slower."""
        speed = self._model.change_speed(step)
        if speed is None:
            self._tell("only a recording plays faster or slower; what is seen here is live")
        else:
            self.draw()

    def action_longer_span(self) -> None:
        """Show a longer time in charts."""
        self._choose_span(1)

    def action_shorter_span(self) -> None:
        """Show a shorter time in charts."""
        self._choose_span(-1)

    def _choose_span(self, step: int) -> None:
        chosen = self._model.choose_span(step)
        minutes = counted(self._model.span_s // 60, "minute")
        if not chosen:
            self._tell(f"{minutes} is the {'longest' if step > 0 else 'shortest'} span of a chart")
            return
        self.draw()
        if not any(chart.region for kind in (QueueRates, ReasonChart) for chart in self.view.query(kind)):
            self._tell(f"charts show {minutes}; there is none in this view")

    def on_timeline_scrubbed(self, event: Timeline.Scrubbed) -> None:
        self._went(self._model.scrub(event.fraction))

    def action_copy_row(self) -> None:
        """Copy the marked rows, or else the one under the cursor, as CSV has them but with tabs."""
        table = self.view.table
        columns, rows = table.chosen_columns, self._marked_rows(table)
        what = counted(len(rows), "marked row")
        if not rows:
            if table.row is None:
                self._tell("the cursor is on no row")
                return
            rows, what = [table.row], _called(table.row)
        self._copy(as_lines(columns, rows), f"{counted(len(columns), 'column')} of {what}, with headings,")

    def _marked_rows(self, table: LiveTable) -> list[Row]:
        """Return the marked rows of a table: as it shows them, then those that it does not show."""
        marked = self._model.choices.marks.of(self._kind)
        if not marked:
            return []
        rows = {row.identity: row for row in (*table.rows, *self._model.snapshot.rows(table.table, None))}
        return [row for identity, row in rows.items() if identity in marked]

    def action_copy_cell(self) -> None:
        """Copy a chosen cell of the row under the cursor."""
        table = self.view.table
        columns, row = table.chosen_columns, table.row
        if row is None:
            self._tell("the cursor is on no row")
            return
        wide = max(len(column.title or column.key) for column in columns)
        lines = [f"{column.title or column.key:<{wide}}  {as_line([column], row)}" for column in columns]
        first = [table.column_under(self.app.mouse_position), *table.shown_columns]
        keys = [column.key for column in columns]
        at = next((keys.index(one.key) for one in first if one is not None and one.key in keys), 0)

        def chosen(index: int) -> None:
            column = columns[index]
            self._copy(as_line([column], row), f"{column.title or column.key} of {_called(row)}")

        self._pick("Copy which cell", lines, chosen, at)

    def _copy(self, text: str, what: str) -> None:
        """Copy a text, and say so."""
        size = len(text.encode())
        if size > COPY_LIMIT_BYTES:
            self._tell(
                f"nothing was copied: {size:,} bytes, where {COPY_LIMIT_BYTES:,} fit; w writes a file",
                "warning",
            )
            return
        self.app.copy_to_clipboard(text)
        self._tell(f"{what} sent to the terminal's clipboard, which it may refuse (OSC 52)")

    def action_export(self, form: Literal["csv", "json"], path: Path | None = None) -> None:
        """Write the focused table, as filtered and sorted, with its chosen columns, into a file of that
        ``path``, or a new one among the exported files."""
        table = self.view.table
        snapshot, rows = self._model.snapshot, table.rows
        columns = table.chosen_columns
        if form == "csv":
            text = as_csv(columns, rows)
        else:
            sources = sources_of(columns, snapshot.sources(table.table, self._model.choices.adapter))
            made = document(table.table, columns, rows, snapshot.host, snapshot.stats, sources=sources)
            if self._model.choices.deltas:
                made["deltas"] = True
            text = as_json(made, indent=1) + "\n"
        name = name_of_table(table.table)
        what = f"{counted(len(rows), 'row')}, {counted(len(columns), 'column')} of {name}"
        self._write(name, form, text, what, path)

    def action_screenshot(self, path: Path | None = None) -> None:
        """Write a picture of the screen, as ``action_export`` writes a table."""
        picture = without_outside(self.app.export_screenshot(title=f"vmqtui · {self._model.host}"))
        view = self.view.view_id
        self._write(VIEWS.get(view, view).lower(), "svg", picture, "a picture of the screen", path)

    def _write(self, what: str, suffix: str, text: str, words: str, path: Path | None) -> None:
        """Write a text; ask before it replaces a file."""

        def chosen(index: int) -> None:
            if index and path is not None:
                self._written(path, words, lambda: put(path, text))

        if path is None:
            directory, stem = exports_directory(self.exports), self._stem(what)
            self._written(directory, words, lambda: write_new(directory, stem, suffix, text))
        elif path.exists():
            lines = ["Keep it, and write nothing", f"Replace it with {words}"]
            self._pick(f"{path.name} is there already", lines, chosen)
        else:
            chosen(1)

    def _stem(self, what: str) -> str:
        """Return the name of a new file: the host, what it has, and the moment shown."""
        stats = self._model.snapshot.stats
        at = datetime.now(UTC)
        with suppress(OverflowError, OSError, ValueError):  # a time from the network may be out of range
            at = datetime.fromtimestamp(stats.time_ns / 1e9, UTC) if stats is not None else at
        return f"{self._model.host or 'vmqtui'}-{what}-{at:%Y%m%dT%H%M%SZ}"

    def _written(self, where: Path, words: str, write: Callable[[], Path]) -> None:
        """Write a file, and say where it is, or why it could not be written."""
        try:
            path = write()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._tell(f"nothing was written: {printable(str(where))}: {why}", "warning")
        else:
            self._tell(f"{words} → {at_home(path)}")
