"""The reference page has every key and column, word for word; VMQTUI_UPDATE_SNAPSHOTS writes them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.pages import check_section
from vmqtui.actions import ACTIONS, VIEWS, in_groups, key_names
from vmqtui.actions.commands import names_of
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import SYNTAX

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def keys() -> str:
    rows = []
    for action in in_groups(ACTIONS):
        everywhere = not action.views or set(VIEWS) <= action.views
        where = (
            "everywhere" if everywhere else ", ".join(VIEWS[view] for view in VIEWS if view in action.views)
        )
        pressed = " ".join(f"`{key}`" for key in key_names(action).split()) or "palette"
        rows.append((pressed, action.title, action.help, where))
    return _table(("Key", "Action", "", "Where"), rows)


def columns() -> str:
    parts = []
    for table, of_table in COLUMNS.items():
        rows = [
            (
                column.title,
                column.heading if column.exported else "",
                f"`{column.key}`" if column.exported else "",
                column.unit,
                column.help + (f" Computed as {column.computed}." if " " in column.computed else ""),
            )
            for column in of_table
        ]
        parts.append(f"### {table}\n\n" + _table(("Screen", "Heading", "JSON", "Unit", ""), rows))
    return "\n\n".join(parts)


def filters() -> str:
    rows = [(" ".join(f"`{term}`" for term in terms.split(" ")), what) for terms, what in SYNTAX[:-1]]
    return _table(("Term", "Rows that pass"), [*rows, (f"`{SYNTAX[-1][0]}`", SYNTAX[-1][1])])


def commands() -> str:
    rows = []
    for action in ACTIONS:
        if action.says or action.takes:
            names = ", ".join(f"`{name}`" for name in names_of(action))
            rows.append((names, " ".join(f"[{kind.upper()}]" for kind in action.takes), action.title))
    return _table(("Command", "What it may be given", "Action"), rows)


SECTIONS = [("keys", keys), ("columns", columns), ("filters", filters), ("commands", commands)]


@pytest.mark.parametrize(("section", "make"), SECTIONS)
def test_page_has_every(section: str, make: Callable[[], str]) -> None:
    check_section(PAGE, section, make())
