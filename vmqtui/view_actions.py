"""Actions that change only what is shown: order, filter, columns and deltas of a table; the moment."""

from engine.view.rates import STEADY_NS
from vmqtui.columns.arrange import sorted_by
from vmqtui.controls import Controls
from vmqtui.dialogs.choose import WhenDialog
from vmqtui.dialogs.columns import ColumnsDialog
from vmqtui.dialogs.dialog import open_dialog
from vmqtui.state.choices import TableChoice
from vmqtui.widgets.filter_bar import FilterBar
from vmqtui.widgets.table import LiveTable
from vmqtui.widgets.timeline import Timeline


class ViewActions(Controls):
    """A screen whose tables are ordered and filtered, and whose views can be held at a moment."""

    _filter: FilterBar
    _filtered: LiveTable | None = None
    """The table whose filter is being typed."""

    def draw(self) -> None:
        """Show the model as it is now."""
        raise NotImplementedError

    def _choose(self, table: LiveTable, **changes: object) -> None:
        self._model.choices.change(table.id, **changes)
        self.draw()

    def on_live_table_heading_clicked(self, event: LiveTable.HeadingClicked) -> None:
        sort = self._model.choices.of(event.table.id).sort
        self._choose(event.table, sort=sorted_by(event.column, sort))

    def _step_sort(self, step: int) -> None:
        table = self.view.table
        columns = [column for column in table.shown_columns if column.trend is None and column.title]
        if not columns:  # it has no size yet
            return
        sort = self._model.choices.of(table.id).sort
        now = sort[0] if sort is not None else columns[0].key
        at = next((n for n, column in enumerate(columns) if column.key == now), -step)
        self._choose(table, sort=sorted_by(columns[(at + step) % len(columns)], None))

    def action_sort_next(self) -> None:
        """Sort by the next column."""
        self._step_sort(1)

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

    def action_filter_rows(self) -> None:
        """Type a filter for the table."""
        self._filtered = self.view.table
        self._filter.begin(self._model.choices.of(self._filtered.id).filter)
        self.say_filter()

    def say_filter(self) -> None:
        """Say what the filter being typed finds."""
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

    def action_back(self) -> None:
        """Drop the table's filter; where there is none, its order."""
        table = self.view.table
        choice = self._model.choices.of(table.id)
        if choice.filter:
            self._choose(table, filter="")
        elif choice.sort is not None:
            self._choose(table, sort=None)

    def end_filter(self) -> None:
        """Put the line away, the filter kept: another view is shown."""
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

        open_dialog(self, ColumnsDialog(table, table.table), chosen)

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
        """Hold what is shown, or go on."""
        self._went(self._model.pause())

    def action_step(self, by: int) -> None:
        """Show the reading before or after."""
        self._went(self._model.step(by))

    def action_skip(self, seconds: int) -> None:
        """Show what was so many seconds later, or earlier."""
        self._went(self._model.skip(seconds))

    def action_go_to_time(self) -> None:
        """Show what was at a time that is typed."""
        ends = self._model.ends()
        if ends is None:
            self._went(False)
            return

        def typed(time_ns: int | None) -> None:
            if time_ns is not None:
                self._went(self._model.go_to(time_ns))

        open_dialog(self, WhenDialog(*ends), typed)

    def action_change_speed(self, step: int) -> None:
        """Play a recording faster, or slower."""
        speed = self._model.change_speed(step)
        if speed is None:
            self._tell("only a recording plays faster or slower; what is seen here is live")
        else:
            self.draw()

    def on_timeline_scrubbed(self, event: Timeline.Scrubbed) -> None:
        self._went(self._model.scrub(event.fraction))
