"""What every view is: a container that draws the model when it is the one that is seen."""

from typing import TypeVar

from textual.containers import Container

from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.widgets.table import LiveTable

W = TypeVar("W")


def titled(widget: W, title: str) -> W:
    """A panel with its title in the border."""
    set_title(widget, title)
    widget.add_class("panel")  # type: ignore[attr-defined]
    return widget


def set_title(widget: object, title: str) -> None:
    """Set a border title, which is markup to Textual: names in it are data."""
    text = printable(title).replace("[", r"\[")
    if getattr(widget, "_shown_title", None) != text:
        widget._shown_title = text  # type: ignore[attr-defined]
        widget.border_title = text  # type: ignore[attr-defined]


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

    def draw(self) -> None:
        """Show the model as it is now."""
        raise NotImplementedError

    def fill(self, table: LiveTable) -> int:
        """Give a table its rows; how many."""
        model = self.model
        rows = model.snapshot.rows(table.table, model.choices.adapter)
        table.show(
            rows,
            sort=model.choices.sort.get(table.table),
            series=model.series,
            hidden=self.hidden_columns(),
        )
        return len(rows)

    def hidden_columns(self) -> frozenset[str]:
        """The adapter's name says nothing where there is one."""
        one = self.model.choices.adapter is not None or len(self.model.snapshot.adapter_names) < 2
        return frozenset({"adapter"}) if one else frozenset()
