"""The page on plans has every measure, word for word; VMQTUI_UPDATE_SNAPSHOTS writes them."""

from pathlib import Path

from engine.service.compare.measures import MEASURES
from tests.pages import check_section

PAGE = Path(__file__).parents[3] / "docs" / "plans.md"


def test_page_has_every_measure() -> None:
    rows = [
        f"| {one.title} | {one.short} | `{one.key}` | {one.unit} | {one.better or '–'} | {one.help} |"
        for one in MEASURES
    ]
    heads = ["| Measure | Narrow | JSON | Unit | Better | |", "| --- | --- | --- | --- | --- | --- |"]
    check_section(PAGE, "measures", "\n".join([*heads, *rows]))
