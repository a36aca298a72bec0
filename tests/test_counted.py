"""Sentences count in one way: with thousands separators, and a noun in the right number."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.counted import counted

ROOT = Path(__file__).parents[1]
NOUNS = {
    *("frames", "buffers", "queues", "processors", "filters", "ports", "VMs", "adapters", "events"),
    *("readings", "moves", "flows", "mixes", "rows", "runs", "hosts", "messages", "records", "members"),
    *("workers", "pairs", "connections", "sessions", "columns", "lines", "clients", "requests", "packets"),
    *("interrupts", "DPCs", "modules", "findings", "destinations", "accounts", "files", "rules", "others"),
}
FORMATTED = ("grouped", "compact", "decimal", "percent", "size")
"""What writes a number that stands behind "of": one of several in the sentence."""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (8431, "8,431 frames"), (None, "– frames")],
)
def test_a_number_has_its_noun(count: int | None, text: str) -> None:
    assert counted(count, "frame") == text


def test_verbs_and_odd_plurals_go_with_it() -> None:
    assert counted(1, "frame was", "frames were") == "1 frame was"
    assert counted(1200, "entry", "entries") == "1,200 entries"


def spelled_out(path: Path) -> Iterator[str]:
    """Numbers in f-strings of a file with a noun of ours right behind, but for constants and rates."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, number, after in zip([None, *node.values], node.values, node.values[1:], strict=False):
            if not isinstance(number, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            word = str(after.value).lstrip(" ").split(" ")[0].rstrip(",.;:()'\"")
            if str(after.value).startswith(" ") and word in NOUNS and not may_stand(before, number.value):
                yield f"{path.relative_to(ROOT)}:{number.lineno}: {ast.unparse(number)} {word}"


def may_stand(before: ast.expr | None, value: ast.expr) -> bool:
    """A constant that is above one, or a number behind "of" that a function has written."""
    if isinstance(value, ast.Call):
        if not (isinstance(before, ast.Constant) and re.search(r"\bof (the )?$", str(before.value))):
            return False
        return ast.unparse(value.func).rpartition(".")[2] in FORMATTED
    return ast.unparse(value).rpartition(".")[2].isupper()


def test_every_count_in_a_sentence_is_written_by_it() -> None:
    files = [path for package in ("engine", "vmqtui") for path in (ROOT / package).rglob("*.py")]
    assert [found for path in sorted(files) for found in spelled_out(path)] == []
