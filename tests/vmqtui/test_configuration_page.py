"""docs/configuration.md has every key and table of the screen; VMQTUI_UPDATE_SNAPSHOTS writes them."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.advice.thresholds import AdviceThresholds
from engine.scenario.keys import Tables, keys_of
from tests.pages import check_section
from vmqtui.preferences.file import loads
from vmqtui.preferences.model import PLACES, Broker, Preferences, TableColumns, Thresholds

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
PREFIXES: dict[type[msgspec.Struct], str] = {
    Preferences: "",
    TableColumns: "columns.TABLE.",
    Thresholds: "thresholds.",
    AdviceThresholds: "advice.",
    Broker: "broker.",
}


def preferences() -> str:
    lines = ["| Key | Fits | Default | |", "| --- | --- | --- | --- |"]
    for row, prefix in PREFIXES.items():
        for field in msgspec.structs.fields(row):
            key = keys_of(row)[field.name]
            if isinstance(key, Tables) or key.default == "empty":
                continue
            default = key.default or f"`{msgspec.json.encode(field.default).decode()}`"
            lines.append(f"| `{prefix}{field.name}` | {key.fits} | {default} | {key.help} |")
    return "\n".join(lines)


def places() -> str:
    lines = ["| TABLE | Columns of |", "| --- | --- |"]
    lines += [f"| `{place}` | {table.replace('_', ' ')} |" for place, table in PLACES.items()]
    return "\n".join(lines)


@pytest.mark.parametrize(("section", "make"), [("preferences", preferences), ("places", places)])
def test_page_has_every(section: str, make: Callable[[], str]) -> None:
    check_section(PAGE, section, make())


def test_example_loads() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert loads(example, "docs/configuration.md").keymap["undo"] == ("ctrl+z",)
