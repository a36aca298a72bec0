"""The base of views: a container that draws the model while it is visible."""

from collections.abc import Sequence
from typing import TypeVar

from textual.containers import Container

from vmqtui.numbers import clock, grouped
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.rows import Row
from vmqtui.widgets.table import LiveTable

W = TypeVar("W")


def titled(widget: W, title: str) -> W:
    """A panel with its title in the border."""
    set_title(widget, title)
    widget.add_class("panel")  # type: ignore[attr-defined]  # every caller passes a widget
    return widget


def set_title(widget: object, title: str) -> None:
    """Set a border title, which is markup to Textual: names in it are data."""
    text = printable(title).replace("[", r"\[")
    if getattr(widget, "_shown_title", None) != text:
        widget._shown_title = text  # type: ignore[attr-defined]  # what the widget shows, kept on it
        widget.border_title = text  # type: ignore[attr-defined]  # every caller passes a widget


class View(Container):
    """One tab. ``main`` is the table that has the focus first."""

    view_id = ""

    def __init__(self, model: Model) -> None:
        super().__init__(id=self.view_id)
        self.model = model

    @property
    def main(self) -> LiveTable:
        """The table that has the focus first."""
        raise NotImplementedError

    @property
    def table(self) -> LiveTable:
        """The table that keys act on: the one with the focus, else the main one."""
        focused = self.screen.focused
        if isinstance(focused, LiveTable) and self in focused.ancestors:
            return focused
        return self.main

    @property
    def subject(self) -> Row | None:
        """The row that keys act on: the one under the cursor."""
        return self.table.row

    def draw(self) -> None:
        """Show the model as it is now."""
        raise NotImplementedError

    def fill(self, table: LiveTable, title: str, extra: str = "") -> None:
        """Give a table its rows, and a title that counts them."""
        model = self.model
        self.show(table, model.snapshot.rows(table.table, model.choices.adapter), title, extra)

    def show(
        self,
        table: LiveTable,
        rows: Sequence[Row],
        title: str,
        extra: str = "",
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        """Show rows in a table, and in its title their number, the filter and the deltas."""
        choices = self.model.choices
        choice = choices.of(table.id)
        arranged = table.show(
            rows,
            choice=choice,
            series=self.model.series,
            hidden=self.hidden_columns() | hidden,
            deltas=choices.deltas,
            steady=lambda: {row.identity: row for row in self.model.snapshot.steady.rows(table.table)},
        )
        shown, total = len(arranged.rows), arranged.total
        parts = [f"{title} {grouped(shown)}" + (f" of {grouped(total)}" if shown != total else "")]
        if choice.filter:
            parts.append(f"/{choice.filter}")
        if choices.deltas and any(column.since for column in table.shown_columns):
            mark = self.model.mark
            parts.append(f"Δ since {clock(mark.sim_time_ns) if mark else 'the start'}")
        if extra:
            parts.append(extra)
        set_title(table, " · ".join(parts))

    def hidden_columns(self) -> frozenset[str]:
        """Columns to hide: the adapter's name, where there is one adapter."""
        one = self.model.choices.adapter is not None or len(self.model.snapshot.adapter_names) < 2
        return frozenset({"adapter"}) if one else frozenset()
