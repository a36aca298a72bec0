"""Help and details as text, made from the registries."""

from rich.text import Text

from vmqtui.actions import VIEWS, Action, key_names
from vmqtui.columns import COLUMNS
from vmqtui.draw import fit
from vmqtui.printable import printable
from vmqtui.state.rows import Row
from vmqtui.theme import Palette


def help_text(actions: tuple[Action, ...], table: str, palette: Palette) -> Text:
    """What every key does, and what the columns of the present table mean."""
    style = palette.style
    text = Text()
    for group in dict.fromkeys(action.group for action in actions):
        text.append(f"{group}\n", style("title"))
        for action in actions:
            if action.group == group:
                where = ", ".join(VIEWS[view] for view in VIEWS if view in action.views)
                text.append(f"  {fit(key_names(action), 8)}", style("accent"))
                text.append(fit(action.title, 26), style("text"))
                text.append(f"{action.help}", style("dim"))
                everywhere = not action.views or len(action.views) == len(VIEWS)
                text.append("\n" if everywhere else f" ({where})\n", style("faint"))
        text.append("\n")
    text.append("Moving\n", style("title"))
    text.append(f"  {fit('↑ ↓ k j', 8)}", style("accent"))
    text.append("the cursor; PgUp PgDn Home End too; Tab goes to the next panel\n\n", style("dim"))
    text.append(f"Columns of {table}\n", style("title"))
    for column in COLUMNS[table]:
        text.append(f"  {fit(column.title or column.key.replace('_', ' '), 20)}", style("accent"))
        text.append(column.help, style("text"))
        text.append(f"  {column.computed}\n" if column.computed else "\n", style("dim"))
    text.append("\n– is unknown, which is not zero; △ and ▲ mark thresholds.", style("dim"))
    return text


def details_text(row: Row, table: str, palette: Palette) -> Text:
    """Every column of a row, with what it means."""
    style = palette.style
    text = Text()
    for column in COLUMNS[table]:
        if column.exported:
            value = column.value(row)
            shown = (
                ", ".join("any" if part is None else printable(str(part)) for part in value) or "–"
                if isinstance(value, list)
                else column.text(row)
            )
            level = column.level(row) if column.level else ""
            text.append(fit(column.heading or column.title, 24), style("dim"))
            text.append(f"{shown} {column.unit if column.right else ''}".rstrip(), style(level or "strong"))
            text.append(f"  {column.help}\n", style("faint"))
    return text
