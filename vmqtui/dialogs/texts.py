"""Help and details, made from the registries."""

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vmqtui.actions import Action, key_names
from vmqtui.columns import COLUMNS
from vmqtui.printable import printable
from vmqtui.state.rows import Row
from vmqtui.theme import Palette


def _grid(lines: Iterable[tuple[Text, ...]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for line in lines:
        grid.add_row(*line)
    return grid


def help_text(actions: tuple[Action, ...], table: str, palette: Palette) -> Group:
    """What every key does, and what the columns of the present table mean."""
    style = palette.style
    parts: list[Text | Table] = []
    for group in dict.fromkeys(action.group for action in actions):
        parts += [Text(group, style("title")), _actions(actions, group, palette), Text()]
    parts += [
        Text("Moving", style("title")),
        Text("↑ ↓ PgUp PgDn Home End move the cursor; Tab goes to the next panel.", style("dim")),
        Text(),
        Text(f"Columns of {table}", style("title")),
        _grid(
            (
                Text(column.title or column.key.replace("_", " "), style("accent")),
                Text(column.help, style("text")),
                Text(column.computed, style("dim")),
            )
            for column in COLUMNS[table]
        ),
        Text(),
        Text("– is unknown, which is not zero; △ and ▲ mark thresholds.", style("dim")),
    ]
    return Group(*parts)


def _actions(actions: tuple[Action, ...], group: str, palette: Palette) -> Table:
    style = palette.style
    return _grid(
        (
            Text(key_names(action), style("accent")),
            Text(action.title, style("text")),
            Text(action.help, style("dim")),
        )
        for action in actions
        if action.group == group
    )


def details_text(row: Row, table: str, palette: Palette) -> Table:
    """Every column of a row, with what it means."""
    style = palette.style
    lines: list[tuple[Text, ...]] = []
    for column in COLUMNS[table]:
        if not column.exported:
            continue
        value = column.value(row)
        if isinstance(value, list):
            shown = ", ".join("any" if part is None else printable(str(part)) for part in value) or "–"
        else:
            shown = column.text(row)
        level = column.level(row) if column.level else ""
        unit = f" {column.unit}" if column.unit and column.right and value is not None else ""
        lines.append(
            (
                Text(column.heading or column.title, style("dim")),
                Text(shown + unit, style(level or "strong")),
                Text(column.help, style("dim")),
            )
        )
    return _grid(lines)
