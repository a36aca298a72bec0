"""docs/advice.md has every rule, threshold and scenario; VMQTUI_UPDATE_SNAPSHOTS writes them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.advice.rules import RULES
from engine.advice.thresholds import THRESHOLDS
from vmqtui.library.lessons import LESSONS

PAGE = Path(__file__).parents[2] / "docs" / "advice.md"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rules() -> str:
    return _table(
        ("Rule", "Finds", "People report", "Effect is", "Thresholds", "Rows"),
        [
            (
                f"`{rule.id}`",
                rule.title,
                rule.symptom,
                f"{rule.unit}, {rule.better}",
                ", ".join(f"`{name}`" for name in rule.thresholds),
                ", ".join(map(str, rule.rows)),
            )
            for rule in RULES.values()
        ],
    )


def thresholds() -> str:
    return _table(
        ("Name", "Default", "Fits", "Unit", ""),
        [
            (f"`{one.name}`", f"{one.default:g}", f"{one.low:g}..{one.high:g}", one.unit, one.help)
            for one in THRESHOLDS
        ],
    )


def library() -> str:
    return _table(
        ("Scenario", "Lesson", "Finding", "Rows"),
        [
            (f"`{one.name}`", one.title, f"`{one.rule}`", ", ".join(map(str, one.rows)))
            for one in LESSONS.values()
        ],
    )


@pytest.mark.parametrize(
    ("section", "make"), [("rules", rules), ("thresholds", thresholds), ("library", library)]
)
def test_page_has_every(section: str, make: object) -> None:
    assert callable(make)
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {section} -->\n).*?(<!-- /{section} -->)", re.DOTALL)
    expected = pattern.sub(lambda found: f"{found[1]}\n{make()}\n\n{found[2]}", text)
    if os.environ.get("VMQTUI_UPDATE_SNAPSHOTS"):
        PAGE.write_text(expected, encoding="utf-8", newline="\n")
        return
    assert text == expected
