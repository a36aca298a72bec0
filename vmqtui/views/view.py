"""The base of views: a container that draws the model while it is visible."""

from collections.abc import Sequence
from typing import Final, TypeVar

from textual.containers import Container

from vmqtui.numbers import clock, grouped
from vmqtui.printable import printable
from vmqtui.state.choices import MARKABLE
from vmqtui.state.model import Model
from vmqtui.state.rows import Row
from vmqtui.widgets.table import ELSEWHERE, LiveTable

W = TypeVar("W")
_OF_MODELS: Final = frozenset({"worker", "sim_time_ns"})
"""Columns that mean nothing of a real host: workers, and simulated time."""


def titled(widget: W, title: str) -> W:
    """Make a widget that is not mounted yet a panel with its title in the border, and return it."""
    set_title(widget, title)
    widget.add_class("panel", update=False)  # type: ignore[attr-defined]  # every caller passes a widget
    return widget


def set_title(widget: object, title: str) -> None:
    """Set a border title; names in it are escaped, because Textual reads it as markup."""
    text = printable(title).replace("[", r"\[")
    if getattr(widget, "_shown_title", None) != text:
        widget._shown_title = text  # type: ignore[attr-defined]  # caches the shown title
        widget.border_title = text  # type: ignore[attr-defined]  # every caller passes a widget


class View(Container):
    """Base of views: the content of one tab."""

    view_id = ""

    def __init__(self, model: Model) -> None:
        super().__init__(id=self.view_id)
        self.model = model
        self._known: dict[str, tuple[object, object, set[str]]] = {}
        """By table: the host and adapter shown, the last moment read, and the columns that were known then or
        before."""

    @property
    def main(self) -> LiveTable:
        """The table that gets the focus first."""
        raise NotImplementedError

    @property
    def table(self) -> LiveTable:
        """The target table of keys: the focused one, else the main one."""
        focused = self.screen.focused
        if isinstance(focused, LiveTable) and self in focused.ancestors:
            return focused
        return self.main

    @property
    def subject(self) -> Row | None:
        """The target row of keys: the one under the cursor."""
        return self.table.row

    def draw(self) -> None:
        """Redraw from the current model."""
        raise NotImplementedError

    def fill(self, table: LiveTable, title: str, extra: str = "") -> None:
        """Show the model's rows in a table, and their number in its title."""
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
        """Show rows in a table, without the columns ``hidden``; its title has their number, the filter and
        the start of the deltas."""
        choices = self.model.choices
        choice = choices.of(table.id)
        marked = choices.marks.of(MARKABLE.get(table.table)) if table.can_focus else ()
        arranged = table.show(
            rows,
            choice=choice,
            series=self.model.series,
            hidden=self.hidden_columns() | dict.fromkeys(hidden, ELSEWHERE),
            unknown=self._never_known(table),
            deltas=choices.deltas,
            steady=lambda: {row.identity: row for row in self.model.snapshot.steady.rows(table.table)},
            counters=self.model.snapshot.sources(table.table, choices.adapter),
            marks=marked,
        )
        shown, total = len(arranged.rows), arranged.total
        parts = [f"{title} {grouped(shown)}" + (f" of {grouped(total)}" if shown != total else "")]
        if choice.filter:
            parts.append(f"/{choice.filter}")
        if arranged.problem:
            parts.append(f"not used: {arranged.problem}")
        if marked:
            unseen = len(marked) - sum(row.identity in marked for row in arranged.rows)
            parts.append(
                f"{grouped(len(marked))} marked" + (f", {grouped(unseen)} not shown" if unseen else "")
            )
        if choices.deltas and any(column.since for column in table.shown_columns):
            mark = self.model.mark
            parts.append(f"Δ since {clock(mark.sim_time_ns) if mark else 'the start'}")
        if extra:
            parts.append(extra)
        set_title(table, " · ".join(parts))

    def _never_known(self, table: LiveTable) -> frozenset[str]:
        """Return the less important columns of which a measured host has known nothing since it is shown.

        Before its second reading that is unknown of rates, and none is returned.
        """
        snapshot = self.model.snapshot
        if not snapshot.measured or snapshot.before is None:
            return frozenset()
        rows = snapshot.rows(table.table, self.model.choices.adapter)
        of = (snapshot.host, self.model.choices.adapter)
        known_of, at, known = self._known.get(table.table, (None, None, set()))
        if known_of != of:
            known = set()
        if rows and at is not snapshot:
            unknown = [column for column in table.columns if column.key not in known]
            known |= {column.key for column in unknown if any(map(column.knows, rows))}
        self._known[table.table] = of, snapshot, known
        if not rows:
            return frozenset()
        return frozenset(one.key for one in table.columns if one.priority and one.key not in known)

    def hidden_columns(self) -> dict[str, str]:
        """Return the columns to hide, and why: the adapter's name, if only one adapter is shown; of a
        measured host those that only a model has."""
        one = self.model.choices.adapter is not None or len(self.model.snapshot.adapter_names) < 2
        hidden = {"adapter": "only one"} if one else {}
        return hidden | (dict.fromkeys(_OF_MODELS, "a model's") if self.model.snapshot.measured else {})
