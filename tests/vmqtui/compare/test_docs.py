"""The page on plans has every measure, word for word; VMQTUI_UPDATE_SNAPSHOTS writes them."""

import os
import re
from pathlib import Path

from engine.service.compare.measures import MEASURES

PAGE = Path(__file__).parents[3] / "docs" / "plans.md"


def test_page_has_every_measure() -> None:
    rows = [
        f"| {one.title} | {one.short} | `{one.key}` | {one.unit} | {one.better or '–'} | {one.help} |"
        for one in MEASURES
    ]
    heads = ["| Measure | Narrow | JSON | Unit | Better | |", "| --- | --- | --- | --- | --- | --- |"]
    table = "\n".join([*heads, *rows])
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- measures -->\n).*?(<!-- /measures -->)", re.DOTALL)
    expected = pattern.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)
    if os.environ.get("VMQTUI_UPDATE_SNAPSHOTS"):
        PAGE.write_text(expected, encoding="utf-8", newline="\n")
        return
    assert text == expected
